package worker_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
)

// shop is a vendor that answers as it is told to, with 200 if not.
type shop struct {
	*httptest.Server
	calls  atomic.Int32
	refuse atomic.Int32  // so many calls, with 429 and a second to wait, or retryAfter
	hold   chan struct{} // the first call ends when it is closed; nil: at once

	retryAfter int
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.calls.Add(1) == 1 && s.hold != nil {
			<-s.hold
		}
		if s.refuse.Add(-1) >= 0 {
			w.Header().Set("Retry-After", strconv.Itoa(max(s.retryAfter, 1)))
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// buy is a handler that calls the shop, through limiter if there is one.
func (s *shop) buy(limiter clients.Admitter) handler {
	// The call may take as long as the attempt, so that nobody waits within it.
	caller := clients.NewCaller("shop", clients.Timeouts{Call: 5 * time.Second}, nil, nil).AdmittedBy(limiter)
	return func(ctx context.Context, _ string) (any, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, nil)
		if err != nil {
			return nil, err
		}
		answer, err := caller.Do(ctx, "buy", req)
		if err == nil && answer.Status != http.StatusOK {
			err = clients.StatusError("shop", "buy", answer)
		}
		return nil, err
	}
}

// limit makes the limiter of the shop's account.
func (r *rig) limit(rate settings.Rate, atOnce settings.Count) *admission.Limiter {
	rdb := r.redis.Client()
	return admission.NewLimiter(rdb, seal.NewSalt(rdb), admission.Limits{Name: "shop", Rate: rate, Concurrency: atOnce, CallTimeout: 5 * time.Second})
}

// parkedFor is how often tasks were parked, by what they waited for.
func parkedFor(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				if f.GetName() == "errand_tasks_parked_total" && label.GetName() == "blocked_by" {
					found[label.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return found
}

// Tasks that may be attempted once only wait for their turn as long as they must.
func TestWaitingForALimitCostsNoAttempt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, label string
		rate        settings.Rate
		atOnce      settings.Count
	}{
		{"rate", "shop:rate", settings.Rate{N: 5, Per: time.Second}, 0},
		{"concurrency", "shop:concurrency", settings.Rate{}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			s.hold = make(chan struct{})
			r := newRig(t)
			r.define("t:buy", broker.Policy{Attempts: 1}, s.buy(r.limit(tt.rate, tt.atOnce)))
			registry := prometheus.NewRegistry()
			var ids []string
			for range 8 {
				ids = append(ids, r.enqueue("t:buy").ID)
			}
			r.work(func(c *worker.Config) { c.Metrics = worker.NewMetrics(registry) })
			testwait.Eventually(t, testwait.Limit, "a task is parked during the first call", func() bool {
				return parkedFor(t, registry)[tt.label] > 0
			})
			close(s.hold)
			for _, id := range ids {
				if got := r.wait(id); got.Outcome != record.Done || got.Attempts != 1 {
					t.Errorf("record = %+v", got)
				}
			}
			if s.calls.Load() != 8 {
				t.Errorf("%d calls", s.calls.Load())
			}
		})
	}
}

// A 429 means that it was not done: it costs no attempt either, and with a
// limiter nobody else runs into it.
func TestA429CostsNoAttempt(t *testing.T) {
	t.Parallel()
	for _, limited := range []bool{false, true} {
		s := newShop(t)
		r := newRig(t)
		var limiter clients.Admitter
		if limited {
			limiter = r.limit(settings.Rate{N: 1000, Per: time.Second}, 0)
		}
		r.define("t:buy", broker.Policy{Attempts: 1}, s.buy(limiter))
		r.work()
		s.refuse.Store(1)
		first := r.enqueue("t:buy").ID
		r.await(first, record.Parked) // the vendor has refused it
		second := r.enqueue("t:buy").ID
		refused, other := r.wait(first), r.wait(second)
		if refused.Outcome != record.Done || len(refused.History) != 2 || refused.History[0].Class != "blocked" || refused.History[0].Status != http.StatusTooManyRequests {
			t.Errorf("limited %v: %+v", limited, refused)
		}
		waited := other.Ended.Sub(refused.History[0].At) >= time.Second
		if other.Outcome != record.Done || other.Attempts != 1 || waited != limited {
			t.Errorf("limited %v: the other one ended %s after the refusal: %+v", limited, other.Ended.Sub(refused.History[0].At), other)
		}
	}
}

// A task that the vendor refused for longer than it has left ends failed: expired would say
// that the vendor was never called. What a person waits for ends at once, anything else with
// its time, also if it waits for something else by then.
func TestA429ThatOutlastsTheTask(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		policy  broker.Policy
		refuse  int32
		limit   settings.Rate
		message string
	}{
		{
			name:    "a passcode",
			policy:  broker.Policy{Budget: time.Minute, Delivery: 6 * time.Second},
			refuse:  100,
			message: "it could not arrive in time any more; shop buy: too many requests",
		},
		{
			name:    "another task",
			policy:  broker.Policy{Budget: 2 * time.Second},
			refuse:  100,
			message: "the time budget is spent; the vendor was called, and did not run it",
		},
		{
			name:    "its turn does not come",
			policy:  broker.Policy{Budget: 20 * time.Second, Delivery: 2 * time.Second},
			refuse:  1,
			limit:   settings.Rate{N: 1, Per: time.Hour},
			message: "it could not arrive in time any more; shop buy: not called",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			s.retryAfter = 1
			if tt.policy.Budget == time.Minute {
				s.retryAfter = 57
			}
			s.refuse.Store(tt.refuse)
			r := newRig(t)
			registry := prometheus.NewRegistry()
			r.define("t:buy", tt.policy, s.buy(r.limit(tt.limit, 1)))
			r.work(func(c *worker.Config) { c.Metrics = worker.NewMetrics(registry) })
			ticket := r.enqueue("t:buy")
			got := r.wait(ticket.ID)
			if got.Outcome != record.Failed || !strings.Contains(got.Message, tt.message) || len(got.History) == 0 {
				t.Errorf("%+v", got)
			}
			early := got.Ended.Before(ticket.Due.Add(tt.policy.Budget - time.Second))
			if early != (tt.policy.Delivery > 0) {
				t.Errorf("it ended %s after it was due", got.Ended.Sub(ticket.Due))
			}
			if n := firstCalls(t, registry); n != 1 {
				t.Errorf("%d first calls were measured", n)
			}
		})
	}
}

// firstCalls is how many first calls of tasks were measured.
func firstCalls(t *testing.T, registry *prometheus.Registry) (n uint64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "errand_task_wait_seconds" {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// Who never gets its turn ends with its time, without an attempt.
func TestATurnThatNeverComes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	r := newRig(t)
	r.define("t:buy", broker.Policy{Budget: time.Second}, s.buy(r.limit(settings.Rate{N: 1, Per: time.Hour}, 0)))
	r.work()
	r.wait(r.enqueue("t:buy").ID)
	if got := r.wait(r.enqueue("t:buy").ID); got.Outcome != record.Expired || got.Attempts != 0 || s.calls.Load() != 1 {
		t.Errorf("%+v after %d calls", got, s.calls.Load())
	}
}
