// Package sandbox is the engine of all vendor sandboxes: it routes, records and
// counts calls, and makes them fail on demand. A vendor's sandbox adds the
// operations, and is as strict as the vendor's page.
//
// It is for tests and cmd/demo. The worker does not link it.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Unrouted is the operation under which calls to unknown paths are recorded.
const Unrouted = "unrouted"

const (
	maxRequest  = 16 << 20 // bytes of a body
	maxRecorded = 1000     // requests per engine; a demo runs for days
)

// Request is one recorded request.
type Request struct {
	Op     string
	Method string
	// Path is below the sandbox's mount point, without a leading slash.
	Path string
	// URI is the request target as received, including the mount point.
	URI    string
	Query  url.Values
	Header http.Header
	Body   []byte
}

// Call is a request in progress, as its operation sees it.
type Call struct {
	Request
	// Params are the {wildcards} of the route.
	Params map[string]string
	// Fault is the fault injected into this call. The engine applies all of it
	// except ExpireToken.
	Fault Fault

	engine *Engine
}

// Effect counts one effect of the call's operation on a subject, such as a recipient
// or a user. An effect is what must not happen twice.
func (c *Call) Effect(subject string) {
	c.engine.effect(c.Op, subject)
}

// Answer is the answer of an operation.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON returns an answer with v as its body.
func JSON(status int, v any) Answer {
	body, err := json.Marshal(v)
	if err != nil {
		panic("sandbox: encode answer: " + err.Error())
	}
	return Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   body,
	}
}

// Operation does what the vendor would do. It runs on many goroutines at once.
type Operation func(c *Call) Answer

// Recode returns the vendor's answer with another code. original is the answer of
// the operation, nil if it did not run.
type Recode func(c *Call, code string, original *Answer) Answer

type route struct {
	op       string
	method   string // "" for any
	segments []string
	run      Operation
}

// Engine is the http.Handler of a sandbox. Mount puts it below a base path.
type Engine struct {
	recode  Recode
	routes  []route
	control *http.ServeMux

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	faults   []*armedFault
	gates    []*Gate
	recorded []Request
	keep     int // how many are recorded at least
	calls    map[string]int
	answered map[string]int
	effects  map[string]map[string]int
}

// New returns an engine without operations. recode may be nil if the vendor's
// answers contain no codes.
func New(recode Recode) *Engine {
	e := &Engine{
		recode:  recode,
		control: http.NewServeMux(),
		changed: make(chan struct{}),
	}
	e.reset()
	e.routeControl()
	return e
}

// Handle adds an operation at a path below the mount point. All operations must be
// added before the first call. A segment {name} matches any one segment. The
// operation checks the method itself, as the vendor does. If one path has several
// operations, the method comes first: "POST {org}/invoices".
func (e *Engine) Handle(path, op string, run Operation) {
	method, rest, found := strings.Cut(path, " ")
	if !found {
		method, rest = "", path
	}
	e.routes = append(e.routes, route{
		op:       op,
		method:   method,
		segments: strings.Split(rest, "/"),
		run:      run,
	})
}

// HandleControl adds a handler to the control API, for example "GET otps/{id}" for
// GET _sandbox/otps/{id}.
func (e *Engine) HandleControl(pattern string, h http.HandlerFunc) {
	method, path, _ := strings.Cut(pattern, " ")
	e.control.HandleFunc(method+" /_sandbox/"+path, h)
}

// Mount serves h below base, which begins and ends with a slash.
func Mount(mux *http.ServeMux, base string, h http.Handler) {
	mux.Handle(base, http.StripPrefix(strings.TrimSuffix(base, "/"), h))
}

// ServeHTTP implements http.Handler.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
		e.control.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); !ok {
			panic(http.ErrAbortHandler) // the client disconnected
		}
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	matched, params := e.match(r.Method, path)
	call := &Call{
		Request: Request{
			Op:     matched.op,
			Method: r.Method,
			Path:   path,
			URI:    r.RequestURI,
			Query:  r.URL.Query(),
			Header: r.Header.Clone(),
			Body:   body,
		},
		Params: params,
		engine: e,
	}
	e.begin(call)
	defer e.end(call.Op) // deferred, because a dropped connection panics

	answer := e.run(r, call, matched.run)
	e.write(w, r, call.Fault, answer)
}

// run lets the call wait at the gates, fail or take effect, in this order.
func (e *Engine) run(r *http.Request, call *Call, op Operation) Answer {
	fault := call.Fault
	e.passGates(r.Context(), call.Op, false)
	if !fault.AfterEffect {
		pause(r.Context(), fault.Delay)
		if fault.replaces() {
			return e.faultAnswer(call, nil)
		}
	}
	answer := op(call)
	e.passGates(r.Context(), call.Op, true)
	if fault.AfterEffect {
		pause(r.Context(), fault.Delay)
		if fault.replaces() {
			return e.faultAnswer(call, &answer)
		}
	}
	return answer
}

func (e *Engine) match(method, path string) (route, map[string]string) {
	segments := strings.Split(path, "/")
	for _, candidate := range e.routes {
		if candidate.method != "" && candidate.method != method {
			continue
		}
		if params, ok := matchSegments(candidate.segments, segments); ok {
			return candidate, params
		}
	}
	return route{op: Unrouted, run: notFound}, nil
}

func notFound(*Call) Answer {
	return JSON(http.StatusNotFound, map[string]string{"error": "the sandbox has no such path"})
}

func matchSegments(pattern, segments []string) (map[string]string, bool) {
	if len(pattern) != len(segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, want := range pattern {
		if strings.HasPrefix(want, "{") && segments[i] != "" {
			params[strings.Trim(want, "{}")] = segments[i]
		} else if want != segments[i] {
			return nil, false
		}
	}
	return params, true
}

func (e *Engine) known(op string) bool {
	return op == "" || op == Unrouted ||
		slices.ContainsFunc(e.routes, func(r route) bool { return r.op == op })
}

// mustKnow panics at a misspelt operation, with which a test would test nothing.
func (e *Engine) mustKnow(op string) {
	if !e.known(op) {
		panic("sandbox: no operation " + op)
	}
}

// pause waits for d. If the client disconnects, it aborts the call.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}
