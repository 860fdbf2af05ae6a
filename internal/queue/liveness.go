package queue

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/ledger"
)

const (
	beatEvery = 2 * time.Second
	// doubtFor is how long a process must be seen without a sign of life before
	// it is taken for dead. When Redis was away, every sign has run out although
	// the processes live; they give new ones within beatEvery.
	doubtFor = 4 * time.Second
)

// heart gives this process' signs of life until stop is closed.
func heart(store *ledger.Store, owner string, log zerolog.Logger, stop <-chan struct{}) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), beatEvery)
		err := store.Beat(ctx, owner)
		cancel()
		if err != nil {
			log.Warn().Err(err).Msg("no sign of life could be given; the queues go on")
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// morgue decides who is dead.
type morgue struct {
	store *ledger.Store
	mu    sync.Mutex
	doubt map[string]doubt
}

// doubt is when a process was first and last seen without a sign of life.
type doubt struct{ first, last time.Time }

// stale is how long a doubt outlives its last look: one of minutes ago says
// nothing about now.
const stale = 3 * sweepEvery

func newMorgue(store *ledger.Store) *morgue {
	return &morgue{store: store, doubt: map[string]doubt{}}
}

// dead reports whether a process may be taken for dead: it has given no sign of
// life for as long as Redis keeps one, and for doubtFor since this process
// noticed. While Redis cannot be asked, nobody is dead.
func (m *morgue) dead(ctx context.Context, owner string) bool {
	alive, err := m.store.Alive(ctx, owner)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || alive {
		delete(m.doubt, owner)
		return false
	}
	now := time.Now()
	d, doubted := m.doubt[owner]
	if !doubted || now.Sub(d.last) > stale {
		d.first = now
	}
	d.last = now
	m.doubt[owner] = d
	return now.Sub(d.first) >= doubtFor
}

// forget drops doubts about processes that nobody asks about any more.
func (m *morgue) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for owner, d := range m.doubt {
		if time.Since(d.last) > stale {
			delete(m.doubt, owner)
		}
	}
}
