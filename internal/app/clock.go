package app

import (
	"context"
	"sync"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
)

// watchClock tells the fleet while the clocks of this machine and of Redis are apart, until
// stop is called.
func (p *process) watchClock(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	store := record.New(p.redis)
	var running sync.WaitGroup
	running.Go(func() {
		for wrong := false; ; {
			wrong = p.compareClocks(ctx, store, wrong)
			select {
			case <-ctx.Done():
				return
			case <-time.After(record.ClockInterval):
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// compareClocks tells the fleet what it has to know. wrong is what it was told last, and the
// result what it is told now.
func (p *process) compareClocks(ctx context.Context, store *record.Store, wrong bool) bool {
	skew, err := redisguard.Skew(ctx, p.redis, p.now)
	if err != nil {
		return wrong
	}
	if skew.Abs() <= redisguard.MaxSkew {
		skew = 0
	}
	if skew == 0 && !wrong {
		return false
	}
	_ = store.WrongClock(ctx, p.owner, skew) // the next comparison says it again, or it expires
	if !wrong {
		p.log.Warn().
			Str("fix", redisguard.FixClock).
			Msg(redisguard.SkewText(skew, "this machine's"))
	}
	return skew != 0
}
