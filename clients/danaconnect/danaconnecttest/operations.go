package danaconnecttest

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"slices"
	"time"

	"errand.internal/clients/sandbox"
)

// guarded checks login, method and content type before an operation runs.
func (s *Sandbox) guarded(run sandbox.Operation) sandbox.Operation {
	return func(c *sandbox.Call) sandbox.Answer {
		req := http.Request{Header: c.Header}
		user, password, ok := req.BasicAuth()
		want, known := s.opts.Logins[user]
		if !ok || !known ||
			subtle.ConstantTimeCompare([]byte(password), []byte(want)) != 1 {
			return s.answer(c.Op, "06", 0, "")
		}
		if c.Method != http.MethodPost {
			return sandbox.Answer{
				Status: http.StatusMethodNotAllowed,
				Header: http.Header{"Allow": {http.MethodPost}},
			}
		}
		if media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil ||
			media != "application/json" {
			return sandbox.Answer{Status: http.StatusUnsupportedMediaType}
		}
		return run(c)
	}
}

// sendRequest is the page's sendOTPJSON. Pointers tell absent from zero.
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
	if err := strict(c.Body, &r, "idConversation", "values", "type", "length", "secondsExpiration", "maximumTries"); err != nil ||
		!r.complete() {
		return s.answer(OpSend, "15", 0, "")
	}
	switch {
	case *r.Type != 1 && *r.Type != 2:
		return s.answer(OpSend, "07", 0, "")
	case *r.Length < 3 || *r.Length > 12:
		return s.answer(OpSend, "08", 0, "")
	case *r.SecondsExpiration < 1 || *r.SecondsExpiration > 3200:
		return s.answer(OpSend, "09", 0, "")
	case !slices.Contains(s.opts.Conversations, *r.IDConversation):
		return s.answer(OpSend, "10", 0, "")
	}
	tries := 5
	if r.MaximumTries != nil {
		tries = *r.MaximumTries
	}
	otp := &OTP{
		Code:      newCode(*r.Type, *r.Length),
		Recipient: *r.Values[0].Value,
		ExpiresAt: s.opts.Now().
			Add(time.Duration(*r.SecondsExpiration) * time.Second),
		MaximumTries:          tries,
		ConversationRequestID: newHash(),
	}
	s.mu.Lock()
	otp.IDRequest = s.next
	s.next++
	s.otps[key(otp.IDRequest)] = otp
	s.mu.Unlock()
	c.Effect(otp.Recipient)
	return s.answer(OpSend, "01", otp.IDRequest, otp.ConversationRequestID)
}

func (s *Sandbox) verify(c *sandbox.Call) sandbox.Answer {
	var r struct {
		IDRequest *int64  `json:"idRequest"`
		OTP       *string `json:"otp"`
	}
	if err := strict(c.Body, &r, "idRequest", "otp"); err != nil || r.IDRequest == nil ||
		r.OTP == nil ||
		*r.OTP == "" {
		return s.answer(OpVerify, "15", 0, "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	otp, ok := s.otps[key(*r.IDRequest)]
	if !ok {
		return s.answer(
			OpVerify,
			"15",
			*r.IDRequest,
			"",
		) // the page has no code of its own for it
	}
	code := otp.judge(*r.OTP, s.opts.Now())
	if code == "01" || code == "04" {
		c.Effect(key(otp.IDRequest)) // used up, or an attempt spent
	}
	return s.answer(OpVerify, code, otp.IDRequest, otp.ConversationRequestID)
}

// judge tells and changes what becomes of a code. A person "may err
// maximumTries times, then the code is disabled" (the page's introduction).
func (o *OTP) judge(typed string, now time.Time) string {
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

// strict decodes one JSON object that has these fields and no others, spelt as
// here: encoding/json alone would take "idrequest" for "idRequest".
func strict(body []byte, into any, fields ...string) error {
	var names map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&names); err != nil {
		return fmt.Errorf("decode object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	if names == nil {
		return errors.New("null")
	}
	for name := range names {
		if !slices.Contains(fields, name) {
			return errors.New("unknown field " + name)
		}
	}
	strictly := json.NewDecoder(bytes.NewReader(body))
	strictly.DisallowUnknownFields() // in the nested objects
	return strictly.Decode(into)
}

const (
	digits = "0123456789"
	// letters leave out what is easily misread, as the vendor's API 2.0 says.
	alphanumeric = "23456789ABCDEFGHJKMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz"
)

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

// newHash looks like the page's sample, a UUID.
func newHash() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
