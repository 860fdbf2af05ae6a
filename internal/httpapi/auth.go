package httpapi

import (
	"context"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"errand.internal/internal/secret"
)

const (
	// failureDelay is how long a refused key waits for its answer.
	failureDelay = time.Second
	// maxDelayed is how many refusals wait at once. Those beyond are answered at once,
	// with 429: guessing is slow either way.
	maxDelayed = 64
	// maxRequests and maxBulks are how many requests, and how many of them bulks, one key
	// may have running at once.
	maxRequests = 512
	maxBulks    = 8
)

// client is a key with what it uses.
type client struct {
	*key
	limiter  *rate.Limiter // of its requests
	rows     *rate.Limiter // of the rows of its bulks, which wait
	requests chan struct{} // a slot for each running request
	bulks    chan struct{}
	day      *atomic.Int64 // Unix day (UTC) of its latest use
}

func newClient(k *key, cfg Config) *client {
	limit, burst := rate.Inf, 1
	if !cfg.Rate.IsZero() {
		limit = rate.Limit(float64(cfg.Rate.N) / cfg.Rate.Per.Seconds())
		burst = cfg.Rate.N
	}
	return &client{
		key:      k,
		limiter:  rate.NewLimiter(limit, burst),
		rows:     rate.NewLimiter(limit, burst),
		requests: make(chan struct{}, maxRequests),
		bulks:    make(chan struct{}, maxBulks),
		day:      &atomic.Int64{},
	}
}

// admit takes a slot of the key's, which leave gives back, and one from its rate.
func (c *client) admit(now time.Time) (refusal *Problem, reason string) {
	select {
	case c.requests <- struct{}{}:
	default:
		return problem(
			http.StatusTooManyRequests,
			"too-many",
			"this key has too many requests running at once",
		).retry(1), "busy"
	}
	reserved := c.limiter.ReserveN(now, 1)
	if wait := reserved.DelayFrom(now); wait > 0 {
		reserved.CancelAt(now)
		c.leave()
		return problem(
			http.StatusTooManyRequests,
			"too-many",
			"this key sends more than API_RATE allows",
		).retry(int(math.Ceil(wait.Seconds()))), "rate"
	}
	return nil, ""
}

func (c *client) leave() {
	<-c.requests
}

// gate finds out whose a request is.
type gate struct {
	config  Config
	clients atomic.Pointer[[]*client]
	delayed chan struct{}
	metrics *metrics
	used    func(key string) // told once a day; may be nil
	// warn logs that somebody came with a wrong key.
	warn func(remote string)

	mu     sync.Mutex
	warned time.Time
}

// warnInterval is how often a refused key is logged; the metric counts all.
const warnInterval = 10 * time.Second

func newGate(cfg Config, m *metrics, warn func(string)) *gate {
	return &gate{
		config:  cfg,
		delayed: make(chan struct{}, maxDelayed),
		metrics: m,
		warn:    warn,
	}
}

// setKeys lets the keys of a list in, and no others. A key that was there before keeps
// what it has used of its rate.
func (g *gate) setKeys(list secret.String) error {
	keys, err := parseKeys(list)
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return errNoKeys
	}
	before := g.clients.Load()
	var now []*client
	for _, k := range keys {
		c := newClient(k, g.config)
		if before != nil {
			c.inherit(*before)
		}
		g.metrics.prepare(k)
		now = append(now, c)
	}
	g.clients.Store(&now)
	return nil
}

// inherit takes over what the client of the same key has used.
func (c *client) inherit(before []*client) {
	for _, old := range before {
		if old.name == c.name && old.sum == c.sum {
			c.limiter = old.limiter
			c.rows = old.rows
			c.requests = old.requests
			c.bulks = old.bulks
			c.day = old.day
		}
	}
}

// open returns the client of a request, or why it is refused. A refusal takes its time.
func (g *gate) open(r *http.Request) (*client, *Problem) {
	given, found := bearer(r)
	if found {
		if c := find(*g.clients.Load(), given); c != nil {
			g.note(c, time.Now())
			return c, nil
		}
	}
	reason, detail := "wrong", "there is no such key; worker api-key NAME makes one for API_KEYS"
	if !found {
		reason, detail = "missing", "send the key as Authorization: Bearer KEY, never in the address"
	}
	g.metrics.refused.WithLabelValues(reason).Inc()
	g.warnOf(r.RemoteAddr)
	select {
	case g.delayed <- struct{}{}:
		defer func() { <-g.delayed }()
		pause(r.Context(), failureDelay)
	default:
		return nil, problem(http.StatusTooManyRequests, "too-many", "too many wrong keys").retry(1)
	}
	return nil, problem(http.StatusUnauthorized, "unauthorized", detail)
}

// note tells of the first use of a key on a day.
func (g *gate) note(c *client, now time.Time) {
	day := now.Unix() / int64(24*time.Hour/time.Second)
	if before := c.day.Load(); g.used != nil && day != before && c.day.CompareAndSwap(before, day) {
		g.used(c.name)
	}
}

func (g *gate) warnOf(remote string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.warned) >= warnInterval {
		g.warned = now
		g.warn(remote)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// bearer returns the key that a request has sent. More than one is none.
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, given, found := strings.Cut(values[0], " ")
	given = strings.TrimSpace(given)
	return given, found && strings.EqualFold(scheme, "Bearer") && given != ""
}
