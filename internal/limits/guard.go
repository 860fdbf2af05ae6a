package limits

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// Guard lets so much be sent to one recipient in a span of time. Safe for
// concurrent use.
type Guard struct {
	options
	rdb  redis.UniversalClient
	salt *seal.Salt
	name string
	rate settings.Rate
}

// NewGuard makes a Guard. name is what is guarded, as keys show it.
func NewGuard(rdb redis.UniversalClient, salt *seal.Salt, name string, rate settings.Rate, opts ...Option) *Guard {
	return &Guard{options: newOptions(opts), rdb: rdb, salt: salt, name: name, rate: rate}
}

// FullError says that a recipient has had as much as may be.
type FullError struct {
	Rate settings.Rate
	// Again is when the next may be sent.
	Again time.Duration
}

// Error implements error.
func (e *FullError) Error() string {
	again := max(e.Again+time.Second-1, time.Second).Truncate(time.Second)
	return fmt.Sprintf("the recipient has had %d in the last %s; again possible in %s", e.Rate.N, span(e.Rate.Per), span(again))
}

// Take takes a place for what a task is about to send to a recipient, in every
// window of the span. A task that asks again has its place already. The error is
// a *FullError; any other means that Redis did not answer, so that nobody knows.
func (g *Guard) Take(ctx context.Context, task string, recipient []string) error {
	r, err := g.run(ctx, takeScript, task, recipient, g.rate.N, g.rate.Per.Microseconds())
	if err != nil {
		return err
	}
	if r.text(0) != "1" {
		return &FullError{Rate: g.rate, Again: r.micros(1)}
	}
	return nil
}

// Free gives a task's place back: it surely sent nothing. If Redis does not hear
// it, the place ends with the span.
func (g *Guard) Free(ctx context.Context, task string, recipient []string) {
	_, _ = g.run(ctx, freeScript, task, recipient)
}

func (g *Guard) run(ctx context.Context, script *redis.Script, task string, recipient []string, args ...any) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	salt, err := g.salt.Get(ctx)
	if err != nil {
		return nil, err
	}
	said, err := script.Run(ctx, g.rdb, []string{key(salt, g.name, recipient) + ":r"}, append([]any{g.redisNow(), task}, args...)...).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("ask redis: %w", err)
	}
	return reply(said), nil
}

// span is a duration as settings have it: 10m, not 10m0s.
func span(d time.Duration) string {
	return strings.TrimPrefix(settings.Rate{N: 1, Per: d}.String(), "1/")
}
