package clients_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/admission"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// fakeAdmitter is an Admitter that answers as the test says and records what it was
// asked and told.
type fakeAdmitter struct {
	err       error
	asks      []admission.Request
	exhausted []time.Duration
	left      int
	refused   int
}

func (l *fakeAdmitter) Acquire(_ context.Context, r admission.Request) (admission.Permit, error) {
	l.asks = append(l.asks, r)
	if l.err != nil {
		return nil, l.err
	}
	return l, nil
}

func (l *fakeAdmitter) Done(ctx context.Context, r admission.Result) {
	if ctx.Err() != nil {
		return
	}
	l.left++
	if r.Verdict == admission.Exhausted {
		l.exhausted = append(l.exhausted, r.RetryAfter)
	}
}

func TestAdmittedByNobodyIsTheSameCaller(t *testing.T) {
	t.Parallel()
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil)
	if caller.AdmittedBy(nil) != caller {
		t.Error("AdmittedBy(nil) returned another Caller")
	}
}

func TestCallThatIsNotAdmittedIsNotSent(t *testing.T) {
	t.Parallel()
	wait := &admission.Blocked{Turn: true, Key: "acme:rate", Reason: "it is full", RetryAfter: 40 * time.Second}
	for _, tt := range []struct {
		name string
		err  error
		want clients.Error
	}{
		{"queued", wait, clients.Error{
			Kind:       clients.Blocked,
			RetryAfter: 40 * time.Second,
			Message:    "not called",
			Err:        wait,
		}},
		{"cancelled", context.Canceled, clients.Error{
			Kind:    clients.Temporary,
			Message: "stopped while waiting to be admitted",
			Err:     context.Canceled,
		}},
		{"out of time", context.DeadlineExceeded, clients.Error{
			Kind:    clients.Temporary,
			Message: "stopped while waiting to be admitted",
			Err:     context.DeadlineExceeded,
		}},
		{"something else", errors.New("canary"), clients.Error{
			Kind:    clients.Temporary,
			Message: "not called: nobody could say whether it may be",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acme, l := newAcme(), &fakeAdmitter{err: tt.err}
			ctx, attempt := clients.WithAttempt(t.Context(), nil)
			_, err := do(ctx, t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil).AdmittedBy(l), acme)
			tt.want.Vendor = "acme"
			tt.want.Op = opOrder
			tt.want.NotSent = true
			if e, ok := clients.AsError(err); !ok || *e != tt.want || acme.Calls(opOrder) != 0 || attempt.Sent() ||
				l.left != 0 {
				t.Errorf("%+v after %d calls, want %+v", err, acme.Calls(opOrder), tt.want)
			}
		})
	}
}

// The limiter learns that the call is over, and from a 429 how long to hold back,
// even if the task's own time is up by then.
func TestAdmitterLearnsHowTheCallEnded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		fault     sandbox.Fault
		exhausted []time.Duration
	}{
		{"done", sandbox.Fault{Status: 200}, nil},
		{"429 with Retry-After", sandbox.Fault{Status: 429, RetryAfter: "7"}, []time.Duration{7 * time.Second}},
		{"429 without", sandbox.Fault{Status: 429, Body: new("API calls quota exceeded!")}, []time.Duration{0}},
		{"unavailable", sandbox.Fault{Status: 503, RetryAfter: "7"}, nil},
		{"dropped", sandbox.Fault{Drop: true}, nil},
		{"cancelled", sandbox.Fault{Delay: time.Hour}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acme, l := newAcme(), &fakeAdmitter{}
			tt.fault.Op = opOrder
			acme.Inject(tt.fault)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.fault.Delay > 0 {
				ctx, _ = clients.WithAttempt(ctx, cancel) // as soon as the request may leave
			}
			_, _ = do(ctx, t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil).StatusOnly().AdmittedBy(l), acme)
			if l.left != 1 || len(l.asks) != 1 || len(l.exhausted) != len(tt.exhausted) ||
				len(tt.exhausted) == 1 && l.exhausted[0] != tt.exhausted[0] {
				t.Errorf("told of %v, left %d times", l.exhausted, l.left)
			}
		})
	}
}

// The limiter learns which task calls, and how long the call may wait.
func TestAdmitterLearnsHowLongTheCallMayWait(t *testing.T) {
	t.Parallel()
	const call = 10 * time.Second
	for _, tt := range []struct {
		name     string
		within   time.Duration // the time left for the attempt, 0: unlimited
		attempt  func(*clients.Attempt)
		calls    int
		maxWait  time.Duration
		underway bool
	}{
		{"outside of a task", 0, nil, 1, 2 * time.Second, false},
		{"plenty of time", time.Minute, nil, 1, 2 * time.Second, false},
		{"a second to spare", call + time.Second, nil, 1, time.Second, false},
		{"no time to spare", call, nil, 1, 0, false},
		{"the second call", time.Minute, nil, 2, 4 * time.Second, true},
		{"the second call without a deadline", 0, func(*clients.Attempt) {}, 2, 4 * time.Second, true},
		{"the second call, late", 6 * time.Second, nil, 2, 3 * time.Second, true},
		{"after a lookup", time.Minute, func(a *clients.Attempt) { a.Underway = true }, 1, 4 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &fakeAdmitter{}
			caller := clients.NewCaller("acme", clients.Timeouts{Call: call}, nil, nil).AdmittedBy(l)
			ctx, named := t.Context(), tt.attempt != nil || tt.within > 0
			if tt.within > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.within)
				defer cancel()
			}
			if named {
				var attempt *clients.Attempt
				ctx, attempt = clients.WithAttempt(ctx, nil)
				attempt.Task, attempt.Deadline = "otp-1", time.Now().Add(time.Hour)
				if tt.attempt != nil {
					tt.attempt(attempt)
				}
			}
			for range tt.calls {
				_, _ = do(ctx, t, caller, newAcme())
			}
			a := l.asks[tt.calls-1]
			near := func(got, want time.Duration) bool { return got <= want && got > want-time.Second }
			if (a.Task == "otp-1") != named || named != near(a.Deadline, time.Hour) || a.Underway != tt.underway ||
				a.MaxWait != 0 && !near(a.MaxWait, tt.maxWait) ||
				(a.MaxWait == 0) != (tt.maxWait == 0) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A replay with a fresh token is limited like any call, and may wait as long as a
// call of an attempt that was already admitted.
func TestReplaysAreAdmitted(t *testing.T) {
	t.Parallel()
	acme, l := newAcme(), &fakeAdmitter{}
	acme.Inject(sandbox.Fault{Op: opOrder, Status: 401, Times: 1})
	source := &bearerSource{replay: true}
	ctx, _ := clients.WithAttempt(t.Context(), nil)
	base := clientstest.Serve(t, acme, "/acme/")
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil).AdmittedBy(l)
	build := func(token secret.String) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, base+"v1/order", strings.NewReader(token.Reveal()))
	}
	_, err := clients.Bearer{Source: source}.Do(ctx, caller, opOrder, build)
	if err != nil || len(l.asks) != 2 || l.asks[0].Underway || !l.asks[1].Underway || l.left != 2 {
		t.Errorf("%v; asked %+v, left %d times", err, l.asks, l.left)
	}
}

// Conclude implements what ReportRefusal tells.
func (l *fakeAdmitter) Conclude(_ context.Context, _ string, refused bool) *admission.Blocked {
	if !refused {
		return nil
	}
	l.refused++
	return &admission.Blocked{Key: "acme:breaker"}
}

// Only a 403 that the client takes for a refusal of the account stops the account.
func TestOnlyARefusalStopsTheAccount(t *testing.T) {
	t.Parallel()
	l := &fakeAdmitter{}
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil)
	refused := &clients.Error{Kind: clients.Credentials, Status: http.StatusForbidden}
	caller.ReportRefusal(t.Context(), refused) // nothing admits its calls
	caller = caller.AdmittedBy(l)
	for _, err := range []error{
		nil,
		errors.New("other"),
		&clients.Error{Kind: clients.Credentials, Status: http.StatusUnauthorized},
		&clients.Error{Kind: clients.Invalid, Status: http.StatusForbidden},
	} {
		caller.ReportRefusal(t.Context(), err)
	}
	if l.refused != 0 {
		t.Errorf("%d refusals were told without one", l.refused)
	}
	if caller.ReportRefusal(t.Context(), refused); l.refused != 1 {
		t.Error("a refusal was not told")
	}
	if blocked, ok := errors.AsType[*admission.Blocked](refused); !ok || blocked.Key != "acme:breaker" {
		t.Errorf("%v does not say what its task waits for", refused)
	}
}

// BenchmarkDo measures what the limits cost: nothing without limits, one round trip
// for a rate, two for a limit of concurrent calls.
func BenchmarkDo(b *testing.B) {
	rdb := redistest.New(b).Client()
	answer := clientstest.Canned{Status: http.StatusOK, Body: "{}"}
	for _, bb := range []struct {
		name   string
		limits admission.Limits
	}{
		{"unlimited", admission.Limits{}},
		{"rate", admission.Limits{Rate: settings.Rate{N: 1_000_000, Per: time.Second}}},
		{"at-once", admission.Limits{Concurrency: 1000}},
		{"both", admission.Limits{Rate: settings.Rate{N: 1_000_000, Per: time.Second}, Concurrency: 1000}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			caller := clients.NewCaller("acme", clients.Timeouts{}, answer, nil)
			if a := bb.limits; !a.IsZero() {
				a.Name, a.CallTimeout = bb.name, time.Second
				caller = caller.AdmittedBy(admission.NewLimiter(rdb, seal.NewSalt(rdb), a))
			}
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://127.0.0.1/", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := caller.Do(b.Context(), opOrder, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
