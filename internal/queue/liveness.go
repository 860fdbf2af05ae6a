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
	since map[string]time.Time // without a sign of life
}

func newMorgue(store *ledger.Store) *morgue {
	return &morgue{store: store, since: map[string]time.Time{}}
}

// dead reports whether a process may be taken for dead: it has given no sign of
// life for as long as Redis keeps one, and for doubtFor since this process
// noticed. While Redis cannot be asked, nobody is dead.
func (m *morgue) dead(ctx context.Context, owner string) bool {
	alive, err := m.store.Alive(ctx, owner)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || alive {
		delete(m.since, owner)
		return false
	}
	first, doubted := m.since[owner]
	if !doubted {
		m.since[owner] = time.Now()
		return false
	}
	return time.Since(first) >= doubtFor
}

// forget drops doubts about processes that nobody asks about any more.
func (m *morgue) forget(olderThan time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for owner, first := range m.since {
		if time.Since(first) > olderThan {
			delete(m.since, owner)
		}
	}
}
