// Package dckaptest is a sandbox of DCKAP Integrator's dynamic pipes. It is as
// strict about credentials as the vendor's page and fails on demand.
//
// Its control API, below _sandbox/, extends that of clients/sandbox:
//
//	PUT _sandbox/pipes/{listener}  {"disabled":true,"answer":{...}}: add or replace a pipe
package dckaptest

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"strings"
	"sync"

	"errand.internal/clients/sandbox"
)

// OpCall is a call of a listener, as sandbox.Fault names it. The subject of its
// effects is the listener.
const OpCall = "call"

// Mount is the base path under which tests and the demo serve the sandbox.
// ListenerPath is the path of the listeners below it.
const (
	Mount        = "/dckap/"
	ListenerPath = "v1/dynamic/listener/"
)

// The account and the pipe of a sandbox, unless Options override them.
const (
	Token    = "sandbox-token-0123456789abcdef0123456789abcdef0123456789abcdef00" // 64 characters, as on the vendor's page
	JWT      = "eyJhbGciOiJIUzI1NiJ9.c2FuZGJveA.c2lnbmF0dXJl"
	Username = "sandbox@example.com"
	Password = "sandbox-password"
	Listener = "64f1c0de0001"
)

// Pipe is one dynamic pipe.
type Pipe struct {
	// Disabled makes the pipe answer every call with 400.
	Disabled bool `json:"disabled"`
	// Answer is the pipe's answer; by default {"status":"success","data":{...}}.
	Answer json.RawMessage `json:"answer"`
}

// Options configure a sandbox. The zero value of a field means its default.
type Options struct {
	Token    string
	JWT      string
	Username string
	Password string
	// Pipes are the initial pipes by listener, in addition to Listener.
	Pipes map[string]Pipe
}

// Sandbox is one DCKAP Integrator, with the faults, counters, recorded requests
// and gates of sandbox.Engine.
type Sandbox struct {
	*sandbox.Engine
	opts Options

	mu    sync.Mutex
	pipes map[string]Pipe
	calls int
}

// New returns a sandbox.
func New(opts Options) *Sandbox {
	opts.Token = cmp.Or(opts.Token, Token)
	opts.JWT = cmp.Or(opts.JWT, JWT)
	opts.Username = cmp.Or(opts.Username, Username)
	opts.Password = cmp.Or(opts.Password, Password)
	s := &Sandbox{opts: opts, pipes: map[string]Pipe{Listener: {}}}
	maps.Copy(s.pipes, opts.Pipes)
	s.Engine = sandbox.New(recode)
	s.Handle(ListenerPath+"{listener}", OpCall, s.call)
	s.HandleControl("PUT pipes/{listener}", s.controlPipe)
	return s
}

// controlPipe adds or replaces a pipe on request of the control API.
func (s *Sandbox) controlPipe(w http.ResponseWriter, r *http.Request) {
	var pipe Pipe
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&pipe); err != nil {
		sandbox.Reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	s.SetPipe(r.PathValue("listener"), pipe)
	w.WriteHeader(http.StatusNoContent)
}

// SetToken changes the access token. The old one is refused from now on.
func (s *Sandbox) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Token = token
}

func (s *Sandbox) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts.Token
}

// SetPipe adds or replaces a pipe.
func (s *Sandbox) SetPipe(listener string, pipe Pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pipes[listener] = pipe
}

// recode returns an answer in which the pipe reports a failure, with the code as
// its status field.
func recode(_ *sandbox.Call, code string, _ *sandbox.Answer) sandbox.Answer {
	return sandbox.JSON(
		http.StatusOK,
		map[string]string{"status": code, "message": "requested by the test"},
	)
}

// refusal is an error answer of the platform.
func refusal(status int, message string) sandbox.Answer {
	return sandbox.JSON(status, map[string]string{"message": message})
}

// call is a call of a listener.
func (s *Sandbox) call(c *sandbox.Call) sandbox.Answer {
	listener := c.Params["listener"]
	s.mu.Lock()
	pipe, known := s.pipes[listener]
	s.mu.Unlock()
	switch {
	case !s.authenticated(c):
		return refusal(http.StatusUnauthorized, "Invalid credentials")
	case !known:
		return refusal(http.StatusNotFound, "No such pipe")
	case pipe.Disabled:
		return refusal(http.StatusBadRequest, "The pipe is disabled")
	}
	var data any
	if len(c.Body) > 0 {
		media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
		if err != nil || media != "application/json" || json.Unmarshal(c.Body, &data) != nil {
			return sandbox.JSON(
				http.StatusOK,
				map[string]any{"status": "error", "error": "the body is not JSON"},
			)
		}
	}
	c.Effect(listener)
	if pipe.Answer != nil {
		return sandbox.JSON(http.StatusOK, pipe.Answer)
	}
	s.mu.Lock()
	s.calls++
	id := fmt.Sprintf("run-%d", s.calls)
	s.mu.Unlock()
	return sandbox.JSON(http.StatusOK, map[string]any{
		"status": "success",
		"data":   map[string]any{"id": id, "received": data},
	})
}

// authenticated reports whether the request carries exactly one credential, and a
// valid one.
func (s *Sandbox) authenticated(c *sandbox.Call) bool {
	var valid []bool // one for each credential of the request
	if authorization := c.Header.Get("Authorization"); authorization != "" {
		token, isBearer := strings.CutPrefix(authorization, "Bearer ")
		user, password, isBasic := (&http.Request{Header: c.Header}).BasicAuth()
		valid = append(valid, isBearer && s.validToken(token) ||
			isBasic && equal(user, s.opts.Username) && equal(password, s.opts.Password))
	}
	for _, value := range c.Header.Values("access_token") {
		valid = append(valid, s.validToken(value))
	}
	for _, value := range c.Query["access_token"] {
		valid = append(valid, equal(value, s.token()))
	}
	for _, value := range c.Query["token"] {
		valid = append(valid, equal(value, s.opts.JWT))
	}
	return len(valid) == 1 && valid[0]
}

// validToken accepts an access token and a JWT alike, as the vendor does in a
// header.
func (s *Sandbox) validToken(value string) bool {
	return equal(value, s.token()) || equal(value, s.opts.JWT)
}

func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
