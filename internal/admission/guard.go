package admission

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// Guard limits how much is sent to each recipient. It is safe for concurrent use.
type Guard struct {
	options
	rdb  redis.UniversalClient
	salt *seal.Salt
	name string
	who  string
	rate settings.Rate
}

// NewGuard returns a Guard. name names what is guarded, in errors and keys; who is the word
// for a recipient in its errors.
func NewGuard(
	rdb redis.UniversalClient,
	salt *seal.Salt,
	name string,
	who string,
	rate settings.Rate,
	opts ...Option,
) *Guard {
	return &Guard{
		options: newOptions(opts),
		rdb:     rdb,
		salt:    salt,
		name:    name,
		who:     who,
		rate:    rate,
	}
}

// Take takes a place for what a task is about to send to a recipient: at most N of
// them in every window of the rate. A task that asks again has its place already. The
// error is a *Blocked if the recipient has had as much as is allowed; any other means
// that Redis did not answer, so that nobody knows.
func (g *Guard) Take(ctx context.Context, task string, recipient []string) error {
	reply, err := g.run(ctx, takeScript, task, recipient, g.rate.N, g.rate.Per.Microseconds())
	if err != nil {
		return err
	}
	if reply.Text(0) == "1" {
		return nil
	}
	return &Blocked{
		Key:        g.name,
		Reason:     "the " + g.who + " has had " + strings.Replace(g.rate.String(), "/", " in the last ", 1),
		RetryAfter: reply.Micros(1),
	}
}

// Free gives a task's place back: it surely sent nothing. If Redis does not answer, the
// place expires with the window.
func (g *Guard) Free(ctx context.Context, task string, recipient []string) {
	_, _ = g.run(ctx, freeScript, task, recipient)
}

func (g *Guard) run(
	ctx context.Context,
	script *redisscript.Script,
	task string,
	recipient []string,
	args ...any,
) (redisscript.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	salt, err := g.salt.Get(ctx)
	if err != nil {
		return nil, err
	}
	keys := []string{limitKey(salt, g.name, recipient) + ":r"}
	return ask(ctx, g.rdb, script, keys, append([]any{g.redisNow(), task}, args...)...)
}

// Span returns a duration as settings have it, rounded up to seconds: 10m, not 10m0s.
func Span(d time.Duration) string {
	d = max(d+time.Second-1, time.Second).Truncate(time.Second)
	return strings.TrimPrefix(settings.Rate{N: 1, Per: d}.String(), "1/")
}
