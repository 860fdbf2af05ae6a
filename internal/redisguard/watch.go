package redisguard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

const (
	// startLimit bounds the check at the start of a worker, and every later one.
	startLimit = 3 * time.Second
	// soon is when Redis is asked again that did not answer or that evicts;
	// later, when all was well: a failover or an operator may change its policy.
	soon  = 5 * time.Second
	later = time.Minute
)

// Watch looks at Redis as long as a worker runs.
type Watch struct {
	rdb         redis.UniversalClient
	log         zerolog.Logger
	soon, later time.Duration

	refusal atomic.Pointer[EvictionError]
	known   map[string]Finding // as logged; of the goroutine

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start looks at Redis once, logs what is to be said, and goes on looking until
// Close. Its error is an *EvictionError: the worker must not start. A Redis that
// does not answer is no error, as it may only be late; it is looked at again
// until it does. Should it turn out then, or change to be, a Redis that evicts,
// that is logged as an error and Err says so, for as long as it lasts.
func Start(
	ctx context.Context,
	rdb redis.UniversalClient,
	log zerolog.Logger,
) (*Watch, error) {
	return start(ctx, rdb, log, soon, later)
}

func start(
	ctx context.Context,
	rdb redis.UniversalClient,
	log zerolog.Logger,
	soon, later time.Duration,
) (*Watch, error) {
	w := &Watch{
		rdb:   rdb,
		log:   log,
		soon:  soon,
		later: later,
		known: map[string]Finding{},
	}
	first := w.check(ctx)
	if err := first.Refusal(); err != nil {
		return nil, err
	}
	w.take(first)
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() {
		w.run(ctx, w.pause(first))
	})
	return w, nil
}

// Err is an *EvictionError while Redis evicts, as far as it is known. A worker
// that runs already goes on, because stopping would help no task, but it is not
// ready. Safe for concurrent use.
func (w *Watch) Err() error {
	if e := w.refusal.Load(); e != nil {
		return e
	}
	return nil
}

// Close ends the watch.
func (w *Watch) Close() {
	w.cancel()
	w.done.Wait()
}

func (w *Watch) check(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return Check(ctx, w.rdb)
}

func (w *Watch) pause(r Report) time.Duration {
	if !r.Answered() || r.Refusal() != nil {
		return w.soon
	}
	return w.later
}

func (w *Watch) run(ctx context.Context, pause time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		r := w.check(ctx)
		if ctx.Err() != nil {
			return // what a cut check says means nothing
		}
		w.take(r)
		pause = w.pause(r)
	}
}

// take keeps what a check found and logs what is new in it.
func (w *Watch) take(r Report) {
	if f, found := r.Find(Eviction); found {
		if f.Level == Fail {
			w.refusal.Store(&EvictionError{f})
		} else {
			w.refusal.Store(nil)
		}
	}
	for _, f := range r.Findings {
		before, told := w.known[f.Name]
		w.known[f.Name] = f
		if f == before || !told && f.Level == OK {
			continue
		}
		line := w.log.Info()
		switch {
		case f.Level == OK:
		case f.Level == Fail && f.Name != Reachable:
			line = w.log.Error()
		default:
			line = w.log.Warn()
		}
		if f.Fix != "" {
			line = line.Str("fix", f.Fix)
		}
		line.Str("check", f.Name).Msg("redis: " + f.Seen)
	}
}
