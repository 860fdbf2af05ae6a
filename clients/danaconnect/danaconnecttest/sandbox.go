// Package danaconnecttest is a sandbox of DANAConnect, written from the vendor's
// pages and as strict as they are: what they do not allow is refused. It has
//
//	otp/1.0/                             one-time passwords, HTTP Basic
//	oauth2/token                         tokens of API 2.0
//	api/2.0/rest/conversation/…          starts of conversations, Bearer
//	api/2.0/records                      a small API for free calls, Bearer
//	api/contacts/rest/webdb/table/{code} bulk load of contacts, HTTP Basic
//
// Its control API, below _sandbox/, adds to that of clients/sandbox:
//
//	GET  _sandbox/otps/{id}   one code as the vendor keeps it
//	GET  _sandbox/starts      the conversations that were started
//	GET  _sandbox/loads       the contact loads that were accepted
//	POST _sandbox/revoke      forget all tokens
package danaconnecttest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"errand.internal/clients/sandbox"
)

// The operations, as sandbox.Fault names them.
const (
	OpSend   = "send"
	OpVerify = "verify"
	OpToken  = "token"
	OpStart  = "start" // by conversation and by project
	OpCall   = "call"  // of the small API
	OpLoad   = "load"
)

// The login and the conversation of the vendor's page, good unless Options say
// otherwise.
const (
	Username     = "jperez"
	Company      = "loremipsumcompany"
	Password     = "sandbox-password"
	Conversation = 824541
)

// The client, the project and the table of API 2.0 and of the contact load,
// good unless Options say otherwise.
const (
	ClientID     = "sandbox-client"
	ClientSecret = "sandbox-secret"
	Project      = 4711
	TableCode    = "CUSTOMERS"
)

// Mount is the base path under which tests and the demo serve the sandbox; the
// APIs lie below it, the OTP API at otp/1.0/.
const Mount = "/danaconnect/"

// Options change a sandbox. The zero value is the page's example.
type Options struct {
	// Logins maps username@company to the password.
	Logins map[string]string
	// Conversations are the ids of active conversations.
	Conversations []int64
	// Projects are the ids of projects whose conversation is active.
	Projects []int64
	// Tables are the codes of the Contact Manager's tables.
	Tables []string
	// Clients maps the client ids of API 2.0 to their secrets.
	Clients map[string]string
	// TokenLife is how long a token is good, by default an hour. Below zero
	// expires_in is left out, and the token is good for an hour.
	TokenLife time.Duration
	// StatusOK answers every failure with HTTP 200 and its code, except a missing
	// or wrong token. The page says nothing about statuses; otherwise failures
	// are 400 and 401, as the public OpenAPI hints.
	StatusOK bool
	// LooseTypes writes expires_in and idResult as text.
	LooseTypes bool
	// Now is the clock, for expiry.
	Now func() time.Time
}

// Sandbox is one DANAConnect. All of sandbox.Engine is there: faults, counts,
// recorded requests, gates.
type Sandbox struct {
	*sandbox.Engine
	opts Options

	mu   sync.Mutex
	otps map[string]*OTP
	next int64
	api  api
}

// OTP is one code as the vendor keeps it.
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

// New makes a sandbox.
func New(opts Options) *Sandbox {
	if opts.Logins == nil {
		opts.Logins = map[string]string{Username + "@" + Company: Password}
	}
	if opts.Conversations == nil {
		opts.Conversations = []int64{Conversation}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts = opts.withAPIDefaults()
	s := &Sandbox{
		opts: opts,
		otps: map[string]*OTP{},
		next: 251,
		api:  newAPI(),
	}
	s.Engine = sandbox.New(s.recode)
	s.Handle("otp/1.0/send", OpSend, s.guarded(s.send))
	s.Handle("otp/1.0/verify", OpVerify, s.guarded(s.verify))
	s.HandleControl("GET otps/{id}", func(w http.ResponseWriter, r *http.Request) {
		otp, ok := s.Lookup(r.PathValue("id"))
		if !ok {
			sandbox.Reply(
				w,
				http.StatusNotFound,
				map[string]string{"error": "no such idRequest"},
			)
			return
		}
		sandbox.Reply(w, http.StatusOK, otp)
	})
	s.routeAPI()
	return s
}

// Add puts a code there as if it had been sent.
func (s *Sandbox) Add(otp OTP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.otps[key(otp.IDRequest)] = &otp
	s.next = max(s.next, otp.IDRequest+1)
}

// Lookup returns a copy of what the vendor keeps of one request.
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

// descriptions are the page's words, of the operation that lists the code.
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

type reply struct {
	IDRequest             int64  `json:"idRequest,omitempty"`
	ResponseCode          string `json:"responseCode"`
	ResponseDescription   string `json:"responseDescription"`
	ConversationRequestID string `json:"conversationRequestId,omitempty"`
}

func (s *Sandbox) answer(op, code string, idRequest int64, hash string) sandbox.Answer {
	return sandbox.JSON(s.status(code), reply{
		IDRequest:             idRequest,
		ResponseCode:          code,
		ConversationRequestID: hash,
		ResponseDescription:   cmp.Or(descriptions[op][code], "undocumented"),
	})
}

func (s *Sandbox) status(code string) int {
	judged := []string{"01", "03", "04", "14", "16"} // the vendor did its work
	switch {
	case s.opts.StatusOK, slices.Contains(judged, code):
		return http.StatusOK
	case code == "05":
		return http.StatusServiceUnavailable
	case code == "06":
		return http.StatusUnauthorized
	}
	return http.StatusBadRequest
}

// recode puts another code into the real answer, or makes an answer of it.
func (s *Sandbox) recode(
	c *sandbox.Call,
	code string,
	real *sandbox.Answer,
) sandbox.Answer {
	if c.Op != OpSend && c.Op != OpVerify {
		return s.recodeAPI(c.Op, code)
	}
	if real != nil {
		var r reply
		if err := json.Unmarshal(real.Body, &r); err == nil {
			return s.answer(c.Op, code, r.IDRequest, r.ConversationRequestID)
		}
	}
	return s.answer(c.Op, code, 0, "")
}

func key(idRequest int64) string {
	return strconv.FormatInt(idRequest, 10)
}
