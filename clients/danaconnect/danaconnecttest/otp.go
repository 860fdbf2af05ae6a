package danaconnecttest

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"time"

	"errand.internal/clients/sandbox"
)

// OTP is one code as the vendor stores it.
type OTP struct {
	IDRequest             int64     `json:"idRequest"`
	Code                  string    `json:"code"`
	Recipient             string    `json:"recipient"` // the first value
	ExpiresAt             time.Time `json:"expiresAt"`
	Tries                 int       `json:"tries"`
	MaximumTries          int       `json:"maximumTries"`
	Used                  bool      `json:"used"`
	ConversationRequestID string    `json:"conversationRequestId"`
}

func (s *Sandbox) routeOTP() {
	s.Handle("otp/1.0/send", OpSend, s.withOTPLogin(s.send))
	s.Handle("otp/1.0/verify", OpVerify, s.withOTPLogin(s.verify))
	s.HandleControl("GET otps/{id}", func(w http.ResponseWriter, r *http.Request) {
		otp, ok := s.Lookup(r.PathValue("id"))
		if !ok {
			sandbox.Reply(w, http.StatusNotFound, map[string]string{"error": "no such idRequest"})
			return
		}
		sandbox.Reply(w, http.StatusOK, otp)
	})
}

// Add stores a code as if it had been sent.
func (s *Sandbox) Add(otp OTP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.otps[key(otp.IDRequest)] = &otp
	s.nextOTP = max(s.nextOTP, otp.IDRequest+1)
}

// Lookup returns a copy of the code of one request.
func (s *Sandbox) Lookup(idRequest string) (OTP, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	otp, ok := s.otps[idRequest]
	if !ok {
		return OTP{}, false
	}
	return *otp, true
}

// Code returns the code that was sent, "" if there is no such request.
func (s *Sandbox) Code(idRequest string) string {
	otp, _ := s.Lookup(idRequest)
	return otp.Code
}

// withOTPLogin wraps an operation of the OTP API: it checks login, method and
// content type first.
func (s *Sandbox) withOTPLogin(run sandbox.Operation) sandbox.Operation {
	return func(c *sandbox.Call) sandbox.Answer {
		if _, ok := s.login(c); !ok {
			return s.otpAnswer(c.Op, "06", 0, "")
		}
		if c.Method != http.MethodPost {
			return methodNotAllowed(http.MethodPost)
		}
		if !isJSON(c) {
			return sandbox.Answer{Status: http.StatusUnsupportedMediaType}
		}
		return run(c)
	}
}

// sendRequest is the page's sendOTPJSON. A nil pointer is an absent field.
type sendRequest struct {
	IDConversation *int64 `json:"idConversation"`
	Values         []struct {
		Key   *string `json:"key"`
		Value *string `json:"value"`
	} `json:"values"`
	Type              *int `json:"type"`
	Length            *int `json:"length"`
	SecondsExpiration *int `json:"secondsExpiration"`
	MaximumTries      *int `json:"maximumTries"`
}

var sendFields = []string{
	"idConversation",
	"values",
	"type",
	"length",
	"secondsExpiration",
	"maximumTries",
}

// complete reports whether r has every required field.
func (r sendRequest) complete() bool {
	if r.IDConversation == nil || r.Type == nil || r.Length == nil ||
		r.SecondsExpiration == nil ||
		len(r.Values) == 0 {
		return false
	}
	for _, v := range r.Values {
		if v.Key == nil || *v.Key == "" || v.Value == nil {
			return false
		}
	}
	return r.MaximumTries == nil || *r.MaximumTries >= 1
}

func (s *Sandbox) send(c *sandbox.Call) sandbox.Answer {
	var r sendRequest
	if err := decodeStrict(c.Body, &r, sendFields...); err != nil || !r.complete() {
		return s.otpAnswer(OpSend, "15", 0, "")
	}
	switch {
	case *r.Type != 1 && *r.Type != 2:
		return s.otpAnswer(OpSend, "07", 0, "")
	case *r.Length < 3 || *r.Length > 12:
		return s.otpAnswer(OpSend, "08", 0, "")
	case *r.SecondsExpiration < 1 || *r.SecondsExpiration > 3200:
		return s.otpAnswer(OpSend, "09", 0, "")
	case !slices.Contains(s.opts.Conversations, *r.IDConversation):
		return s.otpAnswer(OpSend, "10", 0, "")
	}
	tries := 5
	if r.MaximumTries != nil {
		tries = *r.MaximumTries
	}
	life := time.Duration(*r.SecondsExpiration) * time.Second
	otp := &OTP{
		Code:                  newCode(*r.Type, *r.Length),
		Recipient:             *r.Values[0].Value,
		ExpiresAt:             s.opts.Now().Add(life),
		MaximumTries:          tries,
		ConversationRequestID: newHash(),
	}
	s.mu.Lock()
	otp.IDRequest = s.nextOTP
	s.nextOTP++
	s.otps[key(otp.IDRequest)] = otp
	s.mu.Unlock()
	c.Effect(otp.Recipient)
	return s.otpAnswer(OpSend, "01", otp.IDRequest, otp.ConversationRequestID)
}

func (s *Sandbox) verify(c *sandbox.Call) sandbox.Answer {
	var r struct {
		IDRequest *int64  `json:"idRequest"`
		OTP       *string `json:"otp"`
	}
	err := decodeStrict(c.Body, &r, "idRequest", "otp")
	if err != nil || r.IDRequest == nil || r.OTP == nil || *r.OTP == "" {
		return s.otpAnswer(OpVerify, "15", 0, "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	otp, ok := s.otps[key(*r.IDRequest)]
	if !ok {
		// The page lists no code for an unknown idRequest.
		return s.otpAnswer(OpVerify, "15", *r.IDRequest, "")
	}
	code := otp.verify(*r.OTP, s.opts.Now())
	if code == "01" || code == "04" {
		c.Effect(key(otp.IDRequest)) // used up, or an attempt spent
	}
	return s.otpAnswer(OpVerify, code, otp.IDRequest, otp.ConversationRequestID)
}

// verify returns the response code of one attempt and records it. A person "may
// err maximumTries times, then the code is disabled" (the page's introduction).
func (o *OTP) verify(typed string, now time.Time) string {
	switch {
	case o.Used:
		return "14"
	case o.Tries >= o.MaximumTries:
		return "16"
	case !now.Before(o.ExpiresAt):
		return "03"
	case typed != o.Code:
		o.Tries++
		return "04"
	}
	o.Used = true
	return "01"
}

const (
	digits = "0123456789"
	// alphanumeric leaves out characters that are easily misread, as the vendor's
	// API 2.0 does.
	alphanumeric = "23456789ABCDEFGHJKMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz"
)

// newCode returns a random code.
func newCode(kind, length int) string {
	alphabet := digits
	if kind == 2 {
		alphabet = alphanumeric
	}
	code := make([]byte, length)
	for i := range code {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic("danaconnecttest: " + err.Error()) // crypto/rand never fails
		}
		code[i] = alphabet[n.Int64()]
	}
	return string(code)
}

// newHash returns a UUID, as in the page's sample.
func newHash() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// descriptions are the texts of the vendor's page, by operation and code.
var descriptions = map[string]map[string]string{
	OpSend: {
		"01": "Success",
		"04": "Failed",
		"05": "Maintenance Service",
		"06": "Error: Invalid credentials",
		"07": "Incorrect type, Enter 1 Number or 2 Alphanumeric",
		"08": "Incorrect length,  allowable range 3 to 12",
		"09": "Incorrect expiration time, allowed range 1 to 3200",
		"10": "Incorrect IDConversation",
		"15": "Incorrect Request",
	},
	OpVerify: {
		"01": "Success",
		"03": "Expired Code",
		"04": "Incorrect code",
		"06": "Error: Invalid credentials",
		"14": "IdRequest has already been used",
		"15": "Incorrect Request",
		"16": "Maximum failed attempts allowed",
	},
}

// otpReply is the page's resultOTPJSON.
type otpReply struct {
	IDRequest             int64  `json:"idRequest,omitempty"`
	ResponseCode          string `json:"responseCode"`
	ResponseDescription   string `json:"responseDescription"`
	ConversationRequestID string `json:"conversationRequestId,omitempty"`
}

func (s *Sandbox) otpAnswer(op, code string, idRequest int64, hash string) sandbox.Answer {
	return sandbox.JSON(s.otpStatus(code), otpReply{
		IDRequest:             idRequest,
		ResponseCode:          code,
		ConversationRequestID: hash,
		ResponseDescription:   cmp.Or(descriptions[op][code], "undocumented"),
	})
}

func (s *Sandbox) otpStatus(code string) int {
	verdicts := []string{"01", "03", "04", "14", "16"} // the request was processed
	switch {
	case s.opts.StatusOK, slices.Contains(verdicts, code):
		return http.StatusOK
	case code == "05":
		return http.StatusServiceUnavailable
	case code == "06":
		return http.StatusUnauthorized
	}
	return http.StatusBadRequest
}

// recodeOTP keeps idRequest and conversationRequestId of the real answer.
func (s *Sandbox) recodeOTP(op, code string, real *sandbox.Answer) sandbox.Answer {
	if real != nil {
		var r otpReply
		if err := json.Unmarshal(real.Body, &r); err == nil {
			return s.otpAnswer(op, code, r.IDRequest, r.ConversationRequestID)
		}
	}
	return s.otpAnswer(op, code, 0, "")
}

func key(idRequest int64) string {
	return strconv.FormatInt(idRequest, 10)
}
