package monitor

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"
)

const (
	// freeTries is how many logins of one address may fail before it has to wait: a
	// second, then twice as long each time, maxWait at the most.
	freeTries = 3
	maxWait   = time.Minute
	// triesKept is how long an address is remembered.
	triesKept = 15 * time.Minute
	// allTries is how many logins of all addresses may fail, and one more for every
	// allInterval. Beyond it, those wait that have not logged in lately.
	allTries    = 30
	allInterval = time.Second
	// maxAddrs bounds how many addresses are remembered.
	maxAddrs = 10_000
)

// logins slows those who try passwords: per address, and in all.
type logins struct {
	log    zerolog.Logger
	refuse prometheus.Counter
	slow   prometheus.Counter
	now    func() time.Time

	mu    sync.Mutex
	addrs map[netip.Prefix]*tries
	// spent are the failures in all, less what has been made up for until since.
	spent float64
	since time.Time
}

// tries are those of one address.
type tries struct {
	failures int
	latest   time.Time
	until    time.Time // it waits until then
	works    bool      // its latest login has succeeded
}

func newLogins(reg prometheus.Registerer, log zerolog.Logger) *logins {
	count := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "errand_monitoring_failed_logins_total",
		Help: "Failed logins of /monitoring/ by result: refused (wrong), or slowed (not even looked at).",
	}, []string{"result"})
	return &logins{
		log:    log,
		refuse: count.WithLabelValues("refused"),
		slow:   count.WithLabelValues("slowed"),
		now:    time.Now,
		addrs:  map[netip.Prefix]*tries{},
	}
}

// clientOf is the address that a request comes from. Of IPv6, a client has a whole /64.
func clientOf(r *http.Request) netip.Prefix {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	ip := addr.Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}

// wait is how long an address must wait before its next try is looked at; 0 if it need
// not.
func (l *logins) wait(addr netip.Prefix) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	t := l.addrs[addr]
	var wait time.Duration
	if t != nil {
		wait = t.until.Sub(now)
	}
	if works := t != nil && t.works && now.Sub(t.latest) < triesKept; !works && l.spentAt(now) >= allTries {
		wait = max(wait, allInterval)
	}
	if wait > 0 {
		l.slow.Inc()
	}
	return max(wait, 0)
}

// spentAt brings the failures in all up to date.
func (l *logins) spentAt(now time.Time) float64 {
	l.spent = max(0, l.spent-float64(now.Sub(l.since))/float64(allInterval))
	l.since = now
	return l.spent
}

// failed counts a failed login.
func (l *logins) failed(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.spent = l.spentAt(now) + 1
	t := l.addrs[addr]
	if t == nil || now.Sub(t.latest) >= triesKept {
		l.forget(now)
		t = &tries{}
		l.addrs[addr] = t
	}
	t.failures++
	t.latest = now
	t.works = false
	if n := t.failures - freeTries; n > 0 {
		t.until = now.Add(min(maxWait, time.Second<<min(n-1, 10)))
	}
	l.refuse.Inc()
	l.log.Warn().Str("client", addr.Addr().String()).Int("failures", t.failures).Msg("login to /monitoring/ failed")
}

// succeeded remembers an address that has logged in.
func (l *logins) succeeded(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if t := l.addrs[addr]; t != nil && t.works {
		t.latest = now
		return
	}
	l.forget(now)
	l.addrs[addr] = &tries{latest: now, works: true}
}

// forget makes room for one address more.
func (l *logins) forget(now time.Time) {
	if len(l.addrs) < maxAddrs {
		return
	}
	for addr, t := range l.addrs {
		if now.Sub(t.latest) >= triesKept {
			delete(l.addrs, addr)
		}
	}
	for addr := range l.addrs { // in no order: the failures in all are bounded anyway
		if len(l.addrs) < maxAddrs {
			return
		}
		delete(l.addrs, addr)
	}
}
