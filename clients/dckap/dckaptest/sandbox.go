// Package dckaptest is a sandbox of DCKAP Integrator's dynamic pipes: as strict
// about credentials as the vendor's page, and able to go wrong on demand.
//
// Its control API, below _sandbox/, adds to that of clients/sandbox:
//
//	PUT _sandbox/pipes/{listener}  {"disabled":true,"answer":{…}}: add or change a pipe
package dckaptest

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"

	"errand.internal/clients/sandbox"
)

// OpCall is a call of a listener, as sandbox.Fault names it. Its effects' subject
// is the listener.
const OpCall = "call"

// Mount is the base path under which tests and the demo serve the sandbox;
// ListenerPath is where the listeners lie below it.
const (
	Mount        = "/dckap/"
	ListenerPath = "v1/dynamic/listener/"
)

// The account and the pipe that are good unless Options say otherwise.
const (
	Token    = "sandbox-token-0123456789abcdef0123456789abcdef0123456789abcdef00" // 64 characters, as the page promises
	JWT      = "eyJhbGciOiJIUzI1NiJ9.c2FuZGJveA.c2lnbmF0dXJl"
	Username = "sandbox@example.com"
	Password = "sandbox-password"
	Listener = "64f1c0de0001"
)

// Pipe is one dynamic pipe.
type Pipe struct {
	// Disabled answers every call with 400.
	Disabled bool `json:"disabled"`
	// Answer is what it answers; by default {"status":"success","data":{…}}.
	Answer json.RawMessage `json:"answer"`
}

// Options change a sandbox. The zero value of a field takes its default.
type Options struct {
	Token, JWT, Username, Password string
	// Pipes are there from the start, by listener.
	Pipes map[string]Pipe
}

// Sandbox is one DCKAP Integrator. All of sandbox.Engine is there: faults,
// counts, recorded requests, gates.
type Sandbox struct {
	*sandbox.Engine
	opts Options

	mu    sync.Mutex
	pipes map[string]Pipe
	calls int
}

// New makes a sandbox.
func New(opts Options) *Sandbox {
	for _, f := range []struct {
		field *string
		value string
	}{{&opts.Token, Token}, {&opts.JWT, JWT}, {&opts.Username, Username}, {&opts.Password, Password}} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
	s := &Sandbox{opts: opts, pipes: map[string]Pipe{Listener: {}}}
	for listener, pipe := range opts.Pipes {
		s.pipes[listener] = pipe
	}
	s.Engine = sandbox.New(recode)
	s.Handle(ListenerPath+"{listener}", OpCall, s.call)
	s.HandleControl("PUT pipes/{listener}", func(w http.ResponseWriter, r *http.Request) {
		var pipe Pipe
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&pipe); err != nil {
			sandbox.Reply(
				w,
				http.StatusBadRequest,
				map[string]string{"error": err.Error()},
			)
			return
		}
		s.SetPipe(r.PathValue("listener"), pipe)
		w.WriteHeader(http.StatusNoContent)
	})
	return s
}

// SetPipe adds a pipe or changes it.
func (s *Sandbox) SetPipe(listener string, pipe Pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pipes[listener] = pipe
}

// recode makes an answer in which the pipe reports a failure: the code is its
// status.
func recode(_ *sandbox.Call, code string, _ *sandbox.Answer) sandbox.Answer {
	return sandbox.JSON(
		http.StatusOK,
		map[string]string{"status": code, "message": "asked for by the test"},
	)
}

func (s *Sandbox) call(c *sandbox.Call) sandbox.Answer {
	listener := c.Params["listener"]
	s.mu.Lock()
	pipe, known := s.pipes[listener]
	s.mu.Unlock()
	switch {
	case s.places(c) != 1: // none, or one too many
		return sandbox.JSON(
			http.StatusUnauthorized,
			map[string]string{"message": "Invalid credentials"},
		)
	case !known:
		return sandbox.JSON(
			http.StatusNotFound,
			map[string]string{"message": "No such pipe"},
		)
	case pipe.Disabled:
		return sandbox.JSON(
			http.StatusBadRequest,
			map[string]string{"message": "The pipe is disabled"},
		)
	}
	var data any
	if len(c.Body) > 0 {
		media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
		if err != nil || media != "application/json" ||
			json.Unmarshal(c.Body, &data) != nil {
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
	return sandbox.JSON(
		http.StatusOK,
		map[string]any{
			"status": "success",
			"data":   map[string]any{"id": id, "received": data},
		},
	)
}

// places counts where the request carries a good credential. A bad one counts as
// two, so that a good one beside it does not hide it.
func (s *Sandbox) places(c *sandbox.Call) int {
	n := 0
	count := func(good bool) {
		if n++; !good {
			n++
		}
	}
	query := c.Query
	if authorization := c.Header.Get("Authorization"); authorization != "" {
		bearer, isBearer := strings.CutPrefix(authorization, "Bearer ")
		user, password, isBasic := (&http.Request{Header: c.Header}).BasicAuth()
		count(
			isBearer && s.token(bearer) ||
				isBasic && same(user, s.opts.Username) && same(password, s.opts.Password),
		)
	}
	for _, value := range c.Header.Values("access_token") {
		count(s.token(value))
	}
	for _, value := range query["access_token"] {
		count(same(value, s.opts.Token))
	}
	for _, value := range query["token"] {
		count(same(value, s.opts.JWT))
	}
	return n
}

// token accepts either kind, as the page does in a header.
func (s *Sandbox) token(value string) bool {
	return same(value, s.opts.Token) || same(value, s.opts.JWT)
}

func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
