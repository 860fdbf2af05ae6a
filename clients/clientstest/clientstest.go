// Package clientstest holds the checks that every vendor client's tests run
// against the vendor's sandbox, over real HTTP.
package clientstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/tokens"
	"errand.internal/internal/webtest"
)

// Sandbox is a vendor's sandbox. A type that embeds *sandbox.Engine implements it.
type Sandbox interface {
	http.Handler
	Inject(faults ...sandbox.Fault)
	Clear(op string)
	Reset()
	Calls(op string) int
	Effects(op string) int
	Requests(op string) []sandbox.Request
	Hold(op string) *sandbox.Gate
	HoldAnswer(op string) *sandbox.Gate
	WaitCalls(ctx context.Context, op string, n int) error
	WaitAnswered(ctx context.Context, op string, n int) error
	WaitEffects(ctx context.Context, op string, n int) error
}

// Subject is the operation of a vendor client to check.
type Subject struct {
	// Op is the operation's name in the sandbox.
	Op string
	// Mount is the base path of the sandbox, such as "/danaconnect/".
	Mount string
	// New returns a fresh sandbox.
	New func(t *testing.T) Sandbox
	// Call makes a client whose base URLs lie below baseURL, which ends in Mount,
	// and returns a function that calls Op. It may be called repeatedly.
	Call func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(ctx context.Context) error
	// Kinds are the statuses to which this vendor gives another kind than
	// clients.StatusRules.
	Kinds map[int]clients.Kind
	// Unreadable is the kind of a 2xx whose body cannot be read. It is Unknown unless
	// the client can rule out an effect.
	Unreadable clients.Kind
	// Login says that the operation is a login: it may happen twice, whoever needs
	// the token.
	Login bool
	// Canaries are texts that no error may contain: passwords, codes, recipients.
	Canaries []string
}

// Check runs all checks.
func Check(t *testing.T, s Subject) {
	t.Helper()
	t.Run("statuses", func(t *testing.T) {
		t.Parallel()
		Statuses(t, s)
	})
	t.Run("bodies", func(t *testing.T) {
		t.Parallel()
		Bodies(t, s)
	})
	t.Run("transport", func(t *testing.T) {
		t.Parallel()
		Transport(t, s)
	})
	t.Run("leaks", func(t *testing.T) {
		t.Parallel()
		Leaks(t, s)
	})
}

// Serve serves a sandbox below mount and returns its base URL, mount included.
func Serve(t *testing.T, h http.Handler, mount string) string {
	t.Helper()
	mux := http.NewServeMux()
	sandbox.Mount(mux, mount, h)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + mount
}

// Within returns a context that bounds how long a test waits for the sandbox. It
// ends only a wait that will fail anyway.
func Within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// start serves a fresh sandbox and returns it with a call of the operation.
func (s Subject) start(t *testing.T, timeouts clients.Timeouts) (Sandbox, func(context.Context) error) {
	t.Helper()
	sb := s.New(t)
	return sb, s.Call(t, Serve(t, sb, s.Mount), timeouts)
}

// expectKind checks the kind of a call's error and returns the error.
func expectKind(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("the call succeeded, want an error of kind %v", want)
	}
	e, ok := clients.AsError(err)
	if !ok {
		t.Fatalf("error %T is not a *clients.Error: %v", err, err)
	}
	if e.Kind != want {
		t.Fatalf("kind %v, want %v: %v", e.Kind, want, err)
	}
	if e.Vendor == "" || e.Op == "" {
		t.Errorf("the error does not name vendor and operation: %v", err)
	}
	return e
}

// Fault checks the kind of a call's error, and that it shows none of the canaries.
func Fault(t *testing.T, err error, want clients.Kind, canaries ...string) *clients.Error {
	t.Helper()
	e := expectKind(t, err, want)
	NoLeak(t, err, canaries...)
	return e
}

// AsCredentials turns a refused login into an *clients.Error of kind Credentials,
// which the checks expect. It returns other errors unchanged.
func AsCredentials(op string, err error) error {
	refused, ok := errors.AsType[*tokens.RefusedError](err)
	if !ok {
		return err
	}
	e := &clients.Error{
		Vendor: refused.Profile,
		Op:     op,
		Kind:   clients.Credentials,
		Err:    refused,
	}
	if _, status, ok := strings.Cut(refused.Reason, "HTTP "); ok {
		_, _ = fmt.Sscan(status, &e.Status)
	}
	return e
}

// Settings checks the error of a vendor's settings; want is "" for no error.
func Settings(t *testing.T, err error, want string, canaries ...string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
		NoLeak(t, err, canaries...)
	}
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Send sends a request straight to a sandbox, without a client.
func Send(t *testing.T, req *http.Request) (status int, body []byte) {
	t.Helper()
	resp, err := webtest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = resp.Body.Close()
	}()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}
