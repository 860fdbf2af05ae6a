package monitor

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"errand.internal/internal/secret"
)

// guarded is a page behind a login, with a clock.
type guarded struct {
	t       *testing.T
	handler http.Handler
	logins  *logins
	now     time.Time
	log     *strings.Builder
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, now: time.Unix(1000, 0), log: &strings.Builder{}}
	g.logins = newLogins(prometheus.NewRegistry(), zerolog.New(g.log))
	g.logins.now = func() time.Time { return g.now }
	cfg := Config{User: "ops", Password: secret.New("the right one")}
	g.handler = guard(cfg, nil, g.logins, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))
	return g
}

// try requests the page from an address and fails the test unless it has the status.
func (g *guarded) try(addr, password string, want int) http.Header {
	g.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/monitoring/", nil)
	r.RemoteAddr = addr + ":4711"
	if password != "" {
		r.SetBasicAuth("ops", password)
	}
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, r)
	if w.Code != want {
		g.t.Errorf("%s with %q: %d, want %d", addr, password, w.Code, want)
	}
	return w.Header()
}

// Whoever tries passwords waits longer after each; the right password does not help
// before the time is up, and others do not wait.
func TestFailedLoginsAreSlowedPerAddress(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for range 100 {
		g.try("192.0.2.1", "", 401) // a browser asks first without a password
	}
	for range freeTries + 1 {
		g.try("192.0.2.1", "wrong and canary", 401)
	}
	for wait := time.Second; wait <= maxWait; wait = min(2*wait, maxWait) {
		if got := g.try("192.0.2.1", "the right one", 429).Get("Retry-After"); got != strconv.Itoa(int(wait/time.Second)+1) {
			t.Errorf("Retry-After: %q, want more than %s", got, wait)
		}
		g.try("192.0.2.2", "the right one", 200)
		g.now = g.now.Add(wait)
		if wait == maxWait {
			break
		}
		g.try("192.0.2.1", "wrong and canary", 401)
	}
	g.try("192.0.2.1", "the right one", 200)
	for range freeTries {
		g.try("192.0.2.1", "wrong and canary", 401) // it begins anew
	}
	g.try("192.0.2.1", "the right one", 200)
	if log := g.log.String(); !strings.Contains(log, `"client":"192.0.2.1"`) || strings.Contains(log, "canary") {
		t.Errorf("the log: %s", log)
	}
	refused := testutil.ToFloat64(g.logins.refuse)
	if lines := strings.Count(g.log.String(), "\n"); refused < 10 || int(refused) != lines {
		t.Errorf("%g refused logins, and %d lines", refused, lines)
	}
	if slowed := testutil.ToFloat64(g.logins.slow); slowed != 7 {
		t.Errorf("%g slowed logins, want 7", slowed)
	}
}

// Many addresses together are slowed as well, but for those that have logged in; an IPv6
// client is its /64.
func TestFailedLoginsAreSlowedInAll(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.try("192.0.2.1", "the right one", 200)
	for i := range allTries {
		g.try("198.51.100."+strconv.Itoa(i), "wrong and canary", 401)
	}
	g.try("198.51.100.99", "wrong and canary", 429)
	g.try("192.0.2.1", "the right one", 200)
	g.now = g.now.Add(2 * allInterval)
	g.try("198.51.100.99", "wrong and canary", 401)
	g.now = g.now.Add(time.Hour)
	for i := range freeTries + 1 {
		g.try("[2001:db8::"+strconv.Itoa(i+1)+"]", "wrong and canary", 401)
	}
	g.try("[2001:db8::ffff]", "wrong and canary", 429)
	g.try("[2001:db8:1::1]", "wrong and canary", 401)
}

func TestRememberedAddressesAreBounded(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for i := range maxAddrs + 100 {
		g.now = g.now.Add(allInterval)
		g.try("10.0."+strconv.Itoa(i/250)+"."+strconv.Itoa(i%250), "wrong and canary", 401)
	}
	if n := len(g.logins.addrs); n > maxAddrs {
		t.Errorf("%d addresses are remembered", n)
	}
}
