package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"errand.internal/internal/ledger"
	"errand.internal/internal/redisconn"
)

const (
	// rememberFor is how long the end of a task is remembered: longer than what a
	// Redis with appendfsync everysec, or a replica that takes over, can lack.
	rememberFor = 5 * time.Second
	// recallFor is how long tasks that must not happen twice wait after another
	// Redis was met, so that every process can say what it knows: longer than a
	// process takes to notice, which gives a sign of life every beatEvery.
	recallFor = 5 * time.Second
	// recallAtOnce is how many records are written at a time.
	recallAtOnce = 32
)

// recall is what this process has done lately of that which must not happen
// twice. A Redis that was started from a file, or a replica that has taken over,
// may have forgotten the last moment: a passcode that was sent would be pending
// once more. Each process then tells it again what it knows, and none begins
// anything of the kind until all have had the time for that.
//
// It does not help if the process dies together with Redis.
type recall struct {
	store *ledger.Store
	log   zerolog.Logger
	gone  <-chan struct{}

	mu    sync.Mutex
	deeds map[string]*deed // by task
	past  []*deed          // those with a result, the oldest first
	until time.Time        // when what must not happen twice may begin again
}

// deed is one claim, and what came of it.
type deed struct {
	claim  ledger.Claim
	grant  ledger.Grant
	end    time.Time // until when the claim stands, or the deed is remembered
	result *ledger.Result
}

func newRecall(store *ledger.Store, log zerolog.Logger, gone <-chan struct{}) *recall {
	return &recall{store: store, log: log, gone: gone, deeds: map[string]*deed{}}
}

// begun notes a claim.
func (r *recall) begun(c ledger.Claim, g ledger.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deeds[c.ID] = &deed{claim: c, grant: g, end: time.Now().Add(c.For)}
}

// ended notes what came of a claim; written is false if another's word counts.
func (r *recall) ended(id string, g ledger.Grant, result ledger.Result, written bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.past) > 0 && now.After(r.past[0].end) {
		if old := r.past[0]; r.deeds[old.claim.ID] == old {
			delete(r.deeds, old.claim.ID)
		}
		r.past = r.past[1:]
	}
	d := r.deeds[id]
	switch {
	case d == nil || d.grant.Fence != g.Fence:
	case !written:
		delete(r.deeds, id)
	default:
		d.result, d.end = &result, now.Add(rememberFor)
		r.past = append(r.past, d)
	}
}

// wait returns when a task that must not happen twice may begin.
func (r *recall) wait() {
	r.mu.Lock()
	left := time.Until(r.until)
	r.mu.Unlock()
	if left <= 0 {
		return
	}
	select {
	case <-time.After(left):
	case <-r.gone:
	}
}

// all tells Redis all that is remembered, and has what must not happen twice
// wait for the other processes to do so. It does not wait for Redis itself.
func (r *recall) all() {
	now := time.Now()
	var deeds []deed
	r.mu.Lock()
	r.until = now.Add(recallFor)
	for _, d := range r.deeds {
		if now.Before(d.end) {
			deeds = append(deeds, *d)
		}
	}
	r.mu.Unlock()
	r.log.Warn().Int("remembered", len(deeds)).Dur("wait", recallFor).
		Msg("Redis was started anew, or another one has taken over: it may have forgotten the last moment and is told what was done; what must not happen twice waits")
	go func() {
		var all errgroup.Group
		all.SetLimit(recallAtOnce)
		for _, d := range deeds {
			all.Go(func() error { r.tell(d); return nil })
		}
		_ = all.Wait()
	}()
}

// tell writes one deed until Redis has it.
func (r *recall) tell(d deed) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var err error
		if d.result != nil {
			err = r.store.Finish(context.Background(), d.claim.ID, d.grant, *d.result)
		} else if left := time.Until(d.end); left > 0 {
			_, err = r.store.Recall(context.Background(), d.claim, d.grant, left)
		}
		if err == nil || errors.Is(err, ledger.ErrStale) {
			return
		}
		if !redisconn.Unreachable(err) {
			r.log.Error().Err(err).Str("task_id", d.claim.ID).Msg("Redis does not take what was done of the task; it may be done again")
			return
		}
		select {
		case <-time.After(wait):
		case <-r.gone:
			return
		}
	}
}
