package admission

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// Guard limits how much is sent to each recipient. It is safe for concurrent use.
type Guard struct {
	store
	who      string
	rate     settings.Rate
	refusals prometheus.Counter
}

// NewGuard returns a Guard. name names what is guarded, in errors, keys and metrics; who is the word
// for a recipient in its errors.
func NewGuard(
	rdb redis.UniversalClient,
	salt *seal.Salt,
	name string,
	who string,
	rate settings.Rate,
	opts ...Option,
) *Guard {
	g := &Guard{
		store: newStore(rdb, salt, name, nil, opts, "r"),
		who:   who,
		rate:  rate,
	}
	g.refusals = g.metrics.guardRefusals.WithLabelValues(name)
	return g
}

// Take takes a place for what a task is about to send to a recipient: at most N of
// them in every window of the rate. A task that asks again has its place already. The
// error is a *Blocked if the recipient has had as much as is allowed; any other means
// that Redis did not answer, so that nobody knows.
func (g *Guard) Take(ctx context.Context, task string, recipient []string) error {
	reply, err := g.of(recipient).run(ctx, takeScript, task, g.rate.N, g.rate.Per.Microseconds())
	if err != nil {
		return err
	}
	if reply.Text(0) == "1" {
		return nil
	}
	g.refusals.Inc()
	return &Blocked{
		Key:        g.name,
		Reason:     "the " + g.who + " has had " + strings.Replace(g.rate.String(), "/", " in the last ", 1),
		RetryAfter: reply.Micros(1),
	}
}

// Free gives a task's place back: it surely sent nothing. If Redis does not answer, the
// place expires with the window.
func (g *Guard) Free(ctx context.Context, task string, recipient []string) {
	_, _ = g.of(recipient).run(ctx, freeScript, task)
}

// of returns the store of one recipient.
func (g *Guard) of(recipient []string) *store {
	return &store{
		options:  g.options,
		rdb:      g.rdb,
		salt:     g.salt,
		name:     g.name,
		identity: recipient,
		suffixes: g.suffixes,
	}
}

// Span returns a duration as settings have it, rounded up to seconds: 10m, not 10m0s.
func Span(d time.Duration) string {
	d = max(d+time.Second-1, time.Second).Truncate(time.Second)
	return strings.TrimPrefix(settings.Rate{N: 1, Per: d}.String(), "1/")
}
