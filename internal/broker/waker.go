package broker

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/record"
)

// Blocker is something that tasks are parked for.
type Blocker struct {
	// Name is the one that its errors carry.
	Name string
	// Usable reports whether it may be tried now.
	Usable func(ctx context.Context) bool
}

const (
	wakeInterval = time.Second
	wakeMost     = 1024
)

// waker wakes parked tasks when their blocker is gone: one first, then twice as many
// each second, so that a credential that is still refused costs one try, and one that
// works is not met by everything at once. It only makes tasks run sooner: each comes
// back by itself.
type waker struct {
	server   *Server
	store    *record.Store
	queues   []string
	blockers func() []Blocker
	log      zerolog.Logger
	batch    map[string]int // by queue and blocker
}

func newWaker(s *Server, queues []string, blockers func() []Blocker) *waker {
	return &waker{
		server:   s,
		store:    s.store,
		queues:   queues,
		blockers: blockers,
		log:      s.log,
		batch:    map[string]int{},
	}
}

// run wakes until stop is closed.
func (w *waker) run(stop <-chan struct{}) {
	ticker := time.NewTicker(wakeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*wakeInterval)
		for _, queue := range w.queues {
			w.look(ctx, queue)
		}
		cancel()
	}
}

// look wakes the parked tasks of a queue. Most of the time there are none, and one
// question for all blockers says so.
func (w *waker) look(ctx context.Context, queue string) {
	if len(w.batch) == 0 && w.server.dispatches[queue].noneParked() {
		return
	}
	blockers := w.blockers()
	if len(blockers) == 0 {
		return
	}
	names := make([]string, len(blockers))
	for i, b := range blockers {
		names[i] = b.Name
	}
	some, err := w.store.AnyParked(ctx, queue, names)
	for _, b := range blockers {
		if err != nil || !some {
			delete(w.batch, queue+" "+b.Name) // the next time begins with one again
			continue
		}
		w.wake(ctx, queue, b)
	}
}

func (w *waker) wake(ctx context.Context, queue string, b Blocker) {
	key := queue + " " + b.Name
	parked, err := w.store.Parked(ctx, queue, b.Name)
	if err != nil || parked == 0 || !b.Usable(ctx) {
		delete(w.batch, key)
		return
	}
	n := max(1, min(2*w.batch[key], wakeMost))
	w.batch[key] = n
	reply, err := run(ctx, w.server.general, wakeStep, queue, newArguments("blocker", b.Name, "n", n))
	if err != nil {
		w.log.Warn().
			Err(err).
			Str("blocked_by", b.Name).
			Msg("parked tasks not woken; they come back by themselves")
		return
	}
	w.log.Info().
		Str("blocked_by", b.Name).
		Str("queue", queue).
		Int64("woken", reply.Int(0)).
		Int("parked", parked).
		Msg("parked tasks run again")
}
