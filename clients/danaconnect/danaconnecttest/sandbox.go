// Package danaconnecttest is a sandbox of DANAConnect, written from the vendor's
// pages and as strict as they are: it refuses what they do not allow. It has
//
//	otp/1.0/                             one-time passwords, HTTP Basic
//	oauth2/token                         tokens of API 2.0
//	api/2.0/rest/conversation/…          conversation starts, Bearer
//	api/2.0/records                      a small API for free calls, Bearer
//	api/contacts/rest/webdb/table/{code} bulk load of contacts, HTTP Basic
//
// Its control API, below _sandbox/, adds to that of clients/sandbox:
//
//	GET  _sandbox/otps/{id}   one code as the vendor stores it
//	GET  _sandbox/starts      the started conversations
//	GET  _sandbox/loads       the accepted contact loads
//	POST _sandbox/revoke      invalidate all tokens
package danaconnecttest

import (
	"crypto/subtle"
	"maps"
	"mime"
	"net/http"
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

// The login and the conversation of the vendor's page, valid by default.
const (
	Username     = "jperez"
	Company      = "loremipsumcompany"
	Password     = "sandbox-password"
	Conversation = 824541
)

// The client, the project and the table of API 2.0 and of the contact load, valid
// by default.
const (
	ClientID     = "sandbox-client"
	ClientSecret = "sandbox-secret"
	Project      = 4711
	TableCode    = "CUSTOMERS"
)

// Mount is the base path under which tests and the demo serve the sandbox; the
// APIs lie below it, the OTP API at otp/1.0/.
const Mount = "/danaconnect/"

// Options configure a sandbox. The zero value is the page's example.
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
	// TokenLife is the life of a token, an hour by default. If it is negative,
	// expires_in is left out and the token is valid for an hour.
	TokenLife time.Duration
	// StatusOK answers every failure with HTTP 200 and its code, except a missing
	// or wrong token. By default failures have the statuses that the public OpenAPI
	// suggests, such as 400 and 401; the page names none.
	StatusOK bool
	// LooseTypes writes expires_in and idResult as text.
	LooseTypes bool
	// Now is the clock, for expiry.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Logins == nil {
		o.Logins = map[string]string{Username + "@" + Company: Password}
	}
	if o.Conversations == nil {
		o.Conversations = []int64{Conversation}
	}
	if o.Projects == nil {
		o.Projects = []int64{Project}
	}
	if o.Tables == nil {
		o.Tables = []string{TableCode}
	}
	if o.Clients == nil {
		o.Clients = map[string]string{ClientID: ClientSecret}
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Sandbox is one DANAConnect. The embedded Engine adds faults, counts, recorded
// requests and gates.
type Sandbox struct {
	*sandbox.Engine
	opts Options

	mu      sync.Mutex
	otps    map[string]*OTP // by idRequest
	nextOTP int64           // idRequest of the next code
	api     api
}

// New returns a sandbox.
func New(opts Options) *Sandbox {
	s := &Sandbox{
		opts:    opts.withDefaults(),
		otps:    map[string]*OTP{},
		nextOTP: 251,
		api:     newAPI(),
	}
	s.Engine = sandbox.New(s.recode)
	s.routeOTP()
	s.routeContacts()
	s.routeAPI()
	return s
}

// recode puts another code into the real answer, or makes an answer of the code.
func (s *Sandbox) recode(c *sandbox.Call, code string, real *sandbox.Answer) sandbox.Answer {
	switch c.Op {
	case OpSend, OpVerify:
		return s.recodeOTP(c.Op, code, real)
	case OpToken:
		return s.tokenError(code)
	case OpLoad:
		return sandbox.JSON(http.StatusOK, map[string]bool{"status": code == "true"})
	}
	return sandbox.JSON(http.StatusOK, map[string]any{"wsResult": map[string]string{"idResult": code}})
}

// login checks the Basic login of API 1.0 and returns its user.
func (s *Sandbox) login(c *sandbox.Call) (user string, ok bool) {
	req := http.Request{Header: c.Header}
	user, password, ok := req.BasicAuth()
	s.mu.Lock()
	want, known := s.opts.Logins[user]
	s.mu.Unlock()
	return user, ok && known && equalSecret(password, want)
}

// SetPassword changes the password of a login, username@company. The old one is refused
// from now on.
func (s *Sandbox) SetPassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Logins = maps.Clone(s.opts.Logins)
	s.opts.Logins[user] = password
}

// SetClientSecret changes the secret of a client of API 2.0. The old one, and all tokens,
// are refused from now on.
func (s *Sandbox) SetClientSecret(id, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Clients = maps.Clone(s.opts.Clients)
	s.opts.Clients[id] = secret
	clear(s.api.tokens)
}

func equalSecret(got, want string) bool {
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

func isJSON(c *sandbox.Call) bool {
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	return err == nil && media == "application/json"
}

func methodNotAllowed(allow string) sandbox.Answer {
	return sandbox.Answer{
		Status: http.StatusMethodNotAllowed,
		Header: http.Header{"Allow": {allow}},
	}
}

// failureStatus returns the status of a failure that is stated in the body.
func (s *Sandbox) failureStatus() int {
	if s.opts.StatusOK {
		return http.StatusOK
	}
	return http.StatusBadRequest
}
