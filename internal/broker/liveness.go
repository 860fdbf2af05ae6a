package broker

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/record"
)

const (
	heartbeatInterval = 2 * time.Second
	// suspectFor is how long a worker must be seen without a heartbeat before it
	// counts as dead. When Redis was away, the heartbeats of all have expired although
	// they live; they give new ones within heartbeatInterval.
	suspectFor = 4 * time.Second
	// heartbeatFresh is how old this worker's own latest heartbeat may be if it judges
	// others: while Redis takes no writes, nobody can give one.
	heartbeatFresh = heartbeatInterval + time.Second
	// suspicionTTL is how long a suspicion outlives its latest look: one of minutes ago
	// says nothing about now.
	suspicionTTL = 3 * sweepInterval
)

// heart gives this worker's heartbeats, and is the failure detector of the others.
type heart struct {
	store *record.Store
	owner string
	log   zerolog.Logger
	made  time.Time

	mu       sync.Mutex
	beatenAt time.Time
	suspects map[string]suspicion // by owner
}

// suspicion is when a worker was first and last seen without a heartbeat.
type suspicion struct {
	first time.Time
	last  time.Time
}

func newHeart(store *record.Store, owner string, log zerolog.Logger) *heart {
	return &heart{
		store:    store,
		owner:    owner,
		log:      log,
		made:     time.Now(),
		suspects: map[string]suspicion{},
	}
}

// age is how long ago this worker gave its latest heartbeat, or was made if it has given
// none.
func (h *heart) age() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.beatenAt.IsZero() {
		return time.Since(h.made)
	}
	return time.Since(h.beatenAt)
}

// first gives the first heartbeat.
func (h *heart) first() {
	if err := h.beat(); err != nil {
		h.log.Warn().Err(err).Msg("Redis does not answer; the worker waits for it")
	}
}

// run gives heartbeats until stop is closed.
func (h *heart) run(stop <-chan struct{}) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if err := h.beat(); err != nil {
			h.log.Warn().Err(err).Msg("heartbeat failed; still processing")
		}
	}
}

func (h *heart) beat() error {
	ctx, cancel := context.WithTimeout(context.Background(), heartbeatInterval)
	defer cancel()
	if err := h.store.Heartbeat(ctx, h.owner); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beatenAt = time.Now()
	return nil
}

// dead reports whether a worker counts as dead: it has given no heartbeat for as long
// as Redis keeps one, and for suspectFor since this process noticed. While Redis
// cannot be asked, or takes no heartbeats, nobody is dead.
func (h *heart) dead(ctx context.Context, owner string) bool {
	alive, err := h.store.Alive(ctx, owner)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Sub(h.beatenAt) > heartbeatFresh {
		clear(h.suspects)
		return false
	}
	if err != nil || alive {
		delete(h.suspects, owner)
		return false
	}
	s, suspected := h.suspects[owner]
	if !suspected || now.Sub(s.last) > suspicionTTL {
		s.first = now
	}
	s.last = now
	h.suspects[owner] = s
	return now.Sub(s.first) >= suspectFor
}

// tidy drops suspicions that nobody asks about any more.
func (h *heart) tidy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for owner, s := range h.suspects {
		if time.Since(s.last) > suspicionTTL {
			delete(h.suspects, owner)
		}
	}
}
