package queue

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"errand.internal/internal/ledger"
)

// Credential is something that tasks are parked for.
type Credential struct {
	// Name is the one that its errors carry.
	Name string
	// Usable reports whether it may be tried now.
	Usable func(ctx context.Context) bool
}

const (
	wakeEvery = time.Second
	wakeMost  = 1024
)

// waker wakes parked tasks when their credential works again: one first, then
// twice as many each second, so that a credential that is still refused costs
// one try, and one that works is not met by everything at once. It only makes
// tasks run sooner: each comes back by itself within parkMax, so nothing is lost
// when a waker dies with tasks in its hand.
type waker struct {
	store       *ledger.Store
	tasks       *asynq.Inspector
	queues      []string
	credentials []Credential
	log         zerolog.Logger
	batch       map[string]int // by queue and credential
}

// run wakes until stop is closed.
func (w *waker) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticker := time.NewTicker(wakeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		for _, c := range w.credentials {
			for _, queue := range w.queues {
				w.wake(ctx, queue, c)
			}
		}
	}
}

func (w *waker) wake(ctx context.Context, queue string, c Credential) {
	at := queue + " " + c.Name
	parked, err := w.store.Parked(ctx, queue, c.Name)
	if err != nil || parked == 0 || !c.Usable(ctx) {
		delete(w.batch, at) // the next time begins with one again
		return
	}
	n := max(1, min(2*w.batch[at], wakeMost))
	w.batch[at] = n
	ids, err := w.store.WakeParked(ctx, queue, c.Name, n)
	if err != nil {
		w.log.Warn().Err(err).Str("credential", c.Name).Msg("parked tasks could not be woken; they come back by themselves")
		return
	}
	for _, id := range ids {
		// A task that is no longer held back needs no waking.
		_ = w.tasks.RunTask(queue, id)
	}
	w.log.Info().Str("credential", c.Name).Str("queue", queue).Int("woken", len(ids)).Int("parked", parked).Msg("parked tasks run again")
}
