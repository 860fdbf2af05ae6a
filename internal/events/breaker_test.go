package events_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/testwait"

	"errand.internal/clients"
	"errand.internal/internal/alert"
	"errand.internal/internal/events"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// newResting is a Sender of its own process, as the worker makes it.
func newResting(t *testing.T, server *redistest.Server, url string) *events.Sender {
	t.Helper()
	rdb := server.Client()
	cfg := events.Config{URL: secret.New(url), Secret: secret.New(newSecret('a'))}
	sink, err := events.NewReceiver(cfg, rdb, seal.NewSalt(rdb))
	if err != nil {
		t.Fatal(err)
	}
	breaker := events.NewBreaker(cfg, rdb, nopLog, admission.WithSalt(seal.NewSalt(rdb)))
	t.Cleanup(breaker.Close)
	s, err := events.NewSender(
		cfg,
		sink,
		breaker,
		clients.NewCaller(events.Vendor, clients.Timeouts{Call: 2 * time.Second}, nil, nil),
		func(alert.Alert) {},
		time.Now,
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A sink that takes nothing is left alone by all workers; one that dislikes an
// event is not.
func TestASinkThatTakesNothingRests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		rests  bool
	}{
		{"500", status(500), true},
		{"503", status(503), true},
		{"302", status(302), true},
		{"401", status(401), true},
		{"404", status(404), true},
		{"429", status(429), true},
		{"dropped", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
		{"400", status(400), false},
		{"409", status(409), false},
		{"422", status(422), false},
		{"204", status(204), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				_, _ = io.Copy(io.Discard, r.Body) // else it never hears that the client is gone
				tc.answer(w, r)
			}))
			defer web.Close()
			server := redistest.New(t)
			one, other := newResting(t, server, web.URL+"/secret-path"), newResting(t, server, web.URL+"/secret-path")
			if err := one.Send(t.Context(), sample, false); (err == nil) != (tc.name == "204") {
				t.Fatal(err)
			}
			err := other.Send(t.Context(), sample, true)
			cooling, parked := errors.AsType[*admission.Blocked](err)
			fault, _ := clients.AsError(err)
			if parked != tc.rests || (calls.Load() == 1) != tc.rests {
				t.Fatalf("%d calls, %v; it rests: %t", calls.Load(), err, tc.rests)
			}
			if !tc.rests {
				return
			}
			if cooling.Key != events.BreakerName || cooling.RetryAfter > time.Second ||
				fault.Kind != clients.Blocked ||
				!fault.NotSent {
				t.Errorf("%#v", fault)
			}
			if text := err.Error(); !strings.Contains(
				text,
				"the receiver has accepted nothing lately; next try in ",
			) ||
				strings.Contains(text, "credential") ||
				strings.Contains(text, "secret-path") {
				t.Error(text)
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// When the sink takes events again, the first that it takes opens the gate for
// everybody, and it begins to count from one.
func TestASinkThatIsBack(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer web.Close()
	server := redistest.New(t)
	one, other := newResting(t, server, web.URL), newResting(t, server, web.URL)
	// untilTried sends when it may, and says how the first real try ended.
	untilTried := func(s *events.Sender) error {
		t.Helper()
		for {
			err := s.Send(t.Context(), sample, true)
			cooling, rests := errors.AsType[*admission.Blocked](err)
			if !rests {
				return err
			}
			select {
			case <-time.After(cooling.RetryAfter):
			case <-t.Context().Done():
				t.Fatal(t.Context().Err())
			}
		}
	}
	for range 2 {
		if err := untilTried(one); err == nil {
			t.Fatal("it was taken")
		}
	}
	down.Store(false)
	if err := untilTried(one); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := untilTried(other); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited > 10*time.Second {
		t.Errorf("the other worker noticed after %v", waited)
	}
	down.Store(true)
	if err := untilTried(one); err == nil {
		t.Fatal("it was taken")
	}
	// The other may trust what it knew, until it is refused itself.
	var cooling *admission.Blocked
	for rests := false; !rests; {
		cooling, rests = errors.AsType[*admission.Blocked](other.Send(t.Context(), sample, true))
	}
	if cooling.RetryAfter > 2*time.Second {
		t.Errorf("after one refusal it rests for %v", cooling.RetryAfter)
	}
}

// An event that the sink cannot digest keeps those back that were tried in vain,
// for a while, but no new one; and the first of these that is taken sets all
// others free.
func TestAnEventThatTheSinkCannotDigest(t *testing.T) {
	t.Parallel()
	bad := sample
	bad.ID = "evt_bad"
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("webhook-id") == bad.ID {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer web.Close()
	server := redistest.New(t)
	one, other := newResting(t, server, web.URL), newResting(t, server, web.URL)
	refused := func(err error) {
		t.Helper()
		if fault, ok := clients.AsError(err); !ok || fault.Status != http.StatusInternalServerError {
			t.Errorf("%v", err)
		}
	}
	rests := func(s *events.Sender) bool {
		_, rests := errors.AsType[*admission.Blocked](s.Send(t.Context(), sample, true))
		return rests
	}
	refused(one.Send(t.Context(), bad, false))
	if !rests(one) || !rests(other) {
		t.Fatal("the sink does not rest")
	}
	refused(one.Send(t.Context(), bad, false)) // another like it
	if err := other.Send(t.Context(), sample, false); err != nil {
		t.Errorf("a new event: %v", err)
	}
	began := time.Now()
	for rests(one) {
		if time.Since(began) > testwait.Limit {
			t.Fatal("the sink rests although it takes events")
		}
	}
}
