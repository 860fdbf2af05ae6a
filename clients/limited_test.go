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
	"errand.internal/internal/limits"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// fakeLimiter is a Limiter that answers as the test says and records what it was
// asked and told.
type fakeLimiter struct {
	err       error
	asks      []limits.Ask
	exhausted []time.Duration
	left      int
}

func (l *fakeLimiter) Enter(_ context.Context, a limits.Ask) (limits.Pass, error) {
	l.asks = append(l.asks, a)
	if l.err != nil {
		return nil, l.err
	}
	return l, nil
}

func (l *fakeLimiter) Exhausted(ctx context.Context, after time.Duration) {
	if ctx.Err() == nil {
		l.exhausted = append(l.exhausted, after)
	}
}

func (l *fakeLimiter) Leave(ctx context.Context) {
	if ctx.Err() == nil {
		l.left++
	}
}

func TestLimitedWithoutALimiterIsTheSameCaller(t *testing.T) {
	t.Parallel()
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil)
	if caller.Limited(nil) != caller {
		t.Error("Limited(nil) returned another Caller")
	}
}

func TestCallThatIsNotAdmittedIsNotSent(t *testing.T) {
	t.Parallel()
	wait := &limits.WaitError{Limit: "acme:rate", Reason: "it is full", RetryAfter: 40 * time.Second}
	for _, tt := range []struct {
		name string
		err  error
		want clients.Error
	}{
		{"queued", wait, clients.Error{
			Kind:       clients.RateLimited,
			RetryAfter: 40 * time.Second,
			Message:    "not called",
			Err:        wait,
		}},
		{"cancelled", context.Canceled, clients.Error{
			Kind:    clients.Temporary,
			Message: "stopped while waiting for the account's limits",
			Err:     context.Canceled,
		}},
		{"out of time", context.DeadlineExceeded, clients.Error{
			Kind:    clients.Temporary,
			Message: "stopped while waiting for the account's limits",
			Err:     context.DeadlineExceeded,
		}},
		{"something else", errors.New("canary"), clients.Error{
			Kind:    clients.Temporary,
			Message: "the account's limits cannot be checked",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acme, l := newAcme(), &fakeLimiter{err: tt.err}
			ctx, attempt := clients.WithAttempt(t.Context(), nil)
			_, err := do(ctx, t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil).Limited(l), acme)
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
func TestLimiterLearnsHowTheCallEnded(t *testing.T) {
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
			acme, l := newAcme(), &fakeLimiter{}
			tt.fault.Op = opOrder
			acme.Inject(tt.fault)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.fault.Delay > 0 {
				ctx, _ = clients.WithAttempt(ctx, cancel) // as soon as the request may leave
			}
			_, _ = do(ctx, t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil).StatusOnly().Limited(l), acme)
			if l.left != 1 || len(l.asks) != 1 || len(l.exhausted) != len(tt.exhausted) ||
				len(tt.exhausted) == 1 && l.exhausted[0] != tt.exhausted[0] {
				t.Errorf("told of %v, left %d times", l.exhausted, l.left)
			}
		})
	}
}

// The limiter learns which task calls, and how long the call may wait.
func TestLimiterLearnsHowLongTheCallMayWait(t *testing.T) {
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
			l := &fakeLimiter{}
			caller := clients.NewCaller("acme", clients.Timeouts{Call: call}, nil, nil).Limited(l)
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
			if (a.Task == "otp-1") != named || named != near(a.Horizon, time.Hour) || a.Underway != tt.underway ||
				a.Patience != 0 && !near(a.Patience, tt.maxWait) ||
				(a.Patience == 0) != (tt.maxWait == 0) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A replay with a fresh token is limited like any call, and may wait as long as a
// call of an attempt that was already admitted.
func TestReplaysAreLimited(t *testing.T) {
	t.Parallel()
	acme, l := newAcme(), &fakeLimiter{}
	acme.Inject(sandbox.Fault{Op: opOrder, Status: 401, Times: 1})
	source := &bearerSource{replay: true}
	ctx, _ := clients.WithAttempt(t.Context(), nil)
	base := clientstest.Serve(t, acme, "/acme/")
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil).Limited(l)
	build := func(token secret.String) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, base+"v1/order", strings.NewReader(token.Reveal()))
	}
	_, err := clients.Bearer{Source: source}.Do(ctx, caller, opOrder, build)
	if err != nil || len(l.asks) != 2 || l.asks[0].Underway || !l.asks[1].Underway || l.left != 2 {
		t.Errorf("%v; asked %+v, left %d times", err, l.asks, l.left)
	}
}

// BenchmarkDo measures what the limits cost: nothing without limits, one round trip
// for a rate, two for a limit of concurrent calls.
func BenchmarkDo(b *testing.B) {
	rdb := redistest.New(b).Client()
	answer := clientstest.Canned{Status: http.StatusOK, Body: "{}"}
	for _, bb := range []struct {
		name    string
		account limits.Account
	}{
		{"unlimited", limits.Account{}},
		{"rate", limits.Account{Rate: settings.Rate{N: 1_000_000, Per: time.Second}}},
		{"at-once", limits.Account{AtOnce: 1000}},
		{"both", limits.Account{Rate: settings.Rate{N: 1_000_000, Per: time.Second}, AtOnce: 1000}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			caller := clients.NewCaller("acme", clients.Timeouts{}, answer, nil)
			if a := bb.account; a.Limited() {
				a.Name, a.Call = bb.name, time.Second
				caller = caller.Limited(limits.New(rdb, seal.NewSalt(rdb), a))
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
