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
	// checkTimeout bounds one check.
	checkTimeout = 3 * time.Second
	// retryInterval is the time to the next check if Redis did not answer, or
	// evicts.
	retryInterval = 5 * time.Second
	// checkInterval is the time to the next check otherwise: a failover or an
	// operator may change the policy.
	checkInterval = time.Minute
)

// Watch checks Redis while a worker runs.
type Watch struct {
	rdb           redis.UniversalClient
	log           zerolog.Logger
	retryInterval time.Duration
	checkInterval time.Duration

	eviction atomic.Pointer[EvictionError]
	logged   map[string]Finding // by name; used by one goroutine

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start checks Redis, logs the findings, and goes on checking until Close. Its
// error is a Refusal: the worker must not start. A Redis that does not
// answer is not an error, because it may start later than the worker. If a later
// check finds that Redis evicts, it logs an error, and Err returns it until
// Redis does not evict any more.
func Start(ctx context.Context, rdb redis.UniversalClient, log zerolog.Logger) (*Watch, error) {
	return start(ctx, rdb, log, retryInterval, checkInterval)
}

func start(
	ctx context.Context,
	rdb redis.UniversalClient,
	log zerolog.Logger,
	retryInterval, checkInterval time.Duration,
) (*Watch, error) {
	w := &Watch{
		rdb:           rdb,
		log:           log,
		retryInterval: retryInterval,
		checkInterval: checkInterval,
		logged:        map[string]Finding{},
	}
	first := w.check(ctx)
	if err := first.Refusal(); err != nil {
		return nil, err
	}
	w.record(first)
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() {
		w.run(ctx, w.pause(first))
	})
	return w, nil
}

// Err is an *EvictionError if Redis evicted at the last check that could tell. A
// running worker goes on, because stopping helps no task, but it is not ready.
// Safe for concurrent use.
func (w *Watch) Err() error {
	if e := w.eviction.Load(); e != nil {
		return e
	}
	return nil
}

// Close ends the checks.
func (w *Watch) Close() {
	w.cancel()
	w.done.Wait()
}

func (w *Watch) check(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return Check(ctx, w.rdb)
}

func (w *Watch) pause(r Report) time.Duration {
	if !r.Answered() || r.Refusal() != nil {
		return w.retryInterval
	}
	return w.checkInterval
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
			return // a cancelled check says nothing about Redis
		}
		w.record(r)
		pause = w.pause(r)
	}
}

// record keeps the result of a check and logs the findings that have changed.
func (w *Watch) record(r Report) {
	if f, found := r.Find(Eviction); found {
		if f.Level == Fail {
			w.eviction.Store(&EvictionError{f})
		} else {
			w.eviction.Store(nil)
		}
	}
	for _, f := range r.Findings {
		before, found := w.logged[f.Name]
		w.logged[f.Name] = f
		if f == before || !found && f.Level == OK {
			continue
		}
		level := zerolog.WarnLevel
		switch {
		case f.Level == OK:
			level = zerolog.InfoLevel
		case f.Level == Fail && f.Name != Reachable:
			level = zerolog.ErrorLevel
		}
		event := w.log.WithLevel(level).Str("check", f.Name)
		if f.Fix != "" {
			event = event.Str("fix", f.Fix)
		}
		event.Msg("redis: " + f.Seen)
	}
}
