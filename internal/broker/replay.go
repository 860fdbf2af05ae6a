package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"errand.internal/internal/record"
)

const (
	// rememberFor is how long the end of a task is remembered: longer than what a Redis
	// with appendfsync everysec can lack, and than an old master goes on after a replica
	// was promoted. Sentinels name the new one only when its other replicas follow it.
	rememberFor = time.Minute
	// rememberBytes bounds what is remembered of ended tasks; the oldest are forgotten.
	rememberBytes = 32 << 20
	// replayFor is how long tasks that must not run twice wait after a failover, so
	// that every process can replay: longer than a process takes to notice, which
	// gives a heartbeat every heartbeatInterval.
	replayFor = 5 * time.Second
	// replayConcurrency is how many records are written concurrently.
	replayConcurrency = 32
)

// replay holds this process's latest claims on tasks that must not run twice. After a
// failover Redis may have lost the last seconds of writes; every worker then replays
// its claims, and none starts such a task until the others have had time to do the
// same.
//
// It does not help if the process dies together with Redis.
type replay struct {
	server *Server

	mu     sync.Mutex
	recent map[string]*recentClaim // by task
	past   []*recentClaim          // those with a result, the oldest first
	size   int                     // of past, in bytes
	until  time.Time               // when tasks that must not run twice may start again
}

// recentClaim is a claim that has started, and what came of it.
type recentClaim struct {
	claim *Claim
	// result is the end script's arguments; nil while the call is under way.
	result arguments
	// until is how long a result is remembered.
	until time.Time
}

func newReplay(s *Server) *replay {
	return &replay{server: s, recent: map[string]*recentClaim{}}
}

// start notes that a claim has started.
func (r *replay) start(c *Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent[c.ID] = &recentClaim{claim: c}
}

// end notes the result of a claim that must not run twice.
func (r *replay) end(c *Claim, result arguments) {
	if c.AtLeastOnce {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := &recentClaim{
		claim:  c,
		result: result,
		until:  now.Add(rememberFor),
	}
	r.recent[c.ID] = entry
	r.past = append(r.past, entry)
	r.size += len(result)
	for now.After(r.past[0].until) || r.size > rememberBytes && len(r.past) > 1 {
		old := r.past[0]
		if r.recent[old.claim.ID] == old {
			delete(r.recent, old.claim.ID)
		}
		r.size -= len(old.result)
		r.past = r.past[1:]
	}
}

// wait returns when a task that must not run twice may start. Another failover meanwhile,
// or the other client that meets the same one later, makes it wait longer.
func (r *replay) wait(ctx context.Context) error {
	for {
		r.mu.Lock()
		left := time.Until(r.until)
		r.mu.Unlock()
		if left <= 0 {
			return nil
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		case <-r.server.gone:
			return errStopping
		}
	}
}

var errStopping = errors.New("the worker stops")

// all replays all recent claims, and has tasks that must not run twice wait for the
// other processes to do so. It does not wait for Redis itself.
func (r *replay) all() {
	now := time.Now()
	var claims []*recentClaim
	r.mu.Lock()
	r.until = now.Add(replayFor)
	for _, c := range r.recent {
		if c.result == nil || now.Before(c.until) {
			claims = append(claims, c)
		}
	}
	r.mu.Unlock()
	// The latest are the likeliest to be lost.
	slices.SortFunc(claims, func(a, b *recentClaim) int {
		if running := a.result == nil; running != (b.result == nil) {
			if running {
				return -1
			}
			return 1
		}
		return b.until.Compare(a.until)
	})
	r.server.log.Warn().
		Int("claims", len(claims)).
		Dur("wait", replayFor).
		Msg("Redis failed over: replaying the latest claims; tasks that must not run twice wait")
	go func() {
		var all errgroup.Group
		all.SetLimit(replayConcurrency)
		for _, c := range claims {
			all.Go(func() error {
				r.write(c)
				return nil
			})
		}
		_ = all.Wait()
	}()
}

// write replays one claim until Redis has it.
func (r *replay) write(c *recentClaim) {
	err := r.server.insist(func(ctx context.Context) error {
		if c.result != nil {
			return r.server.end(ctx, c.claim, c.result)
		}
		return r.server.reclaim(ctx, c.claim)
	})
	if err != nil && !errors.Is(err, record.ErrStale) {
		r.server.log.Error().Err(err).Str("task_id", c.claim.ID).Msg("claim not replayed; the task may run again")
	}
}

// reclaim writes a started claim that Redis may have forgotten.
func (s *Server) reclaim(ctx context.Context, c *Claim) error {
	a := newArguments("id", c.ID, "fence", c.fence).with(c.description())
	a.add("owner", s.owner)
	a.add("msg", []byte(c.msg))
	if c.InDoubt {
		a.add("doubt", c.Lookups)
	}
	_, err := run(ctx, s.general, claimStep, c.Queue, a)
	return err
}
