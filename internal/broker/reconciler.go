package broker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/alert"
	"errand.internal/internal/record"
)

const (
	sweepInterval = 3 * time.Second
	// tidyInterval is how often the rest is looked after.
	tidyInterval = 30 * time.Second
	// unclaimedFor is how long a task may be active although nobody runs it: what a
	// claim takes to reach this process, whose reply may be lost and asked for again.
	unclaimedFor = 8 * time.Second
)

// unconfirmedAges are the ages at which an unconfirmed task is announced. After the
// last one nobody is reminded any more; the audit log keeps the task.
var unconfirmedAges = []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}

// outboxTTL is how long the end of a task waits for a worker that publishes it.
const outboxTTL = 24 * time.Hour

// reconciler puts back what nobody runs any more: the tasks of workers that died,
// and those whose claim never reached this one. Every worker does so for its own
// queues; that several do it at once is harmless.
type reconciler struct {
	server *Server
	store  *record.Store
	queues []string
	alert  alert.Func
	log    zerolog.Logger
	// accounts are the worker's, by their names.
	accounts func() []string

	unclaimed map[taskKey]time.Time // since when nobody runs it
	foreign   map[string]uint64     // by queue: where the scan of its records is
	outbox    map[string]uint64     // by queue: where the scan of its outbox is
}

// taskKey names a task. Its ID alone may be one that a plain asynq client chose.
type taskKey struct{ queue, id string }

func newReconciler(s *Server, queues []string, accounts func() []string, publish alert.Func) *reconciler {
	return &reconciler{
		server:    s,
		store:     s.store,
		queues:    queues,
		accounts:  accounts,
		alert:     publish,
		log:       s.log,
		unclaimed: map[taskKey]time.Time{},
		foreign:   map[string]uint64{},
		outbox:    map[string]uint64{},
	}
}

func (r *reconciler) run(stop <-chan struct{}) {
	sweep, tidy := time.NewTicker(sweepInterval), time.NewTicker(tidyInterval)
	defer sweep.Stop()
	defer tidy.Stop()
	r.each(r.register)
	r.registerAccounts()
	for {
		select {
		case <-stop:
			return
		case <-sweep.C:
			r.each(r.sweep)
		case <-tidy.C:
			r.each(r.register)
			r.registerAccounts()
			r.each(r.announceUnconfirmed)
			r.each(r.endForeign)
			r.each(r.trimOutbox)
			r.server.heart.tidy()
		}
	}
}

func (r *reconciler) each(do func(ctx context.Context, queue string) error) {
	ctx, cancel := context.WithTimeout(context.Background(), sweepInterval)
	defer cancel()
	for _, queue := range r.queues {
		if err := do(ctx, queue); err != nil {
			r.log.Warn().Err(err).Str("queue", queue).Msg("reconciling the queue failed; trying again")
		}
	}
}

// sealedTTL is how long producers without keys are refused after the last worker that
// demands it: a fleet may be away for days.
const sealedTTL = 7 * 24 * time.Hour

// register keeps asynq's set of queues, the format's number and the demand for encryption
// true: Redis may have come back empty since they were written.
func (r *reconciler) register(ctx context.Context, queue string) error {
	if err := CheckFormat(ctx, r.server.general); err != nil {
		return err
	}
	if r.server.sealed {
		if err := r.server.general.Set(ctx, record.SealedKey(queue), 1, sealedTTL).Err(); err != nil {
			return err
		}
	}
	return r.server.general.SAdd(ctx, record.QueuesKey, queue).Err()
}

// registerAccounts keeps the list of accounts true, for the same reason.
func (r *reconciler) registerAccounts() {
	ctx, cancel := context.WithTimeout(context.Background(), sweepInterval)
	defer cancel()
	if err := r.store.RegisterAccounts(ctx, r.accounts()); err != nil {
		r.log.Warn().Err(err).Msg("the worker's accounts are not registered; trying again")
	}
}

// sweep looks at the active tasks of a queue.
func (r *reconciler) sweep(ctx context.Context, queue string) error {
	ids, err := r.server.general.LRange(ctx, asynqPrefix(queue)+"active", 0, -1).Result()
	if err != nil {
		return err
	}
	owners, err := r.store.Owners(ctx, queue, ids)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
		owner := owners[id]
		task := taskKey{queue, id}
		switch {
		case owner == r.server.owner && r.server.claim(id) != nil:
			delete(r.unclaimed, task)
		case owner != "" && owner != r.server.owner:
			delete(r.unclaimed, task)
			if r.server.heart.dead(ctx, owner) {
				r.requeue(ctx, queue, id, owner, true)
			}
		case r.unclaimed[task].IsZero():
			r.unclaimed[task] = time.Now()
		case time.Since(r.unclaimed[task]) > unclaimedFor:
			r.requeue(ctx, queue, id, owner, false)
		}
	}
	for task := range r.unclaimed {
		if task.queue == queue && !seen[task.id] {
			delete(r.unclaimed, task)
		}
	}
	return nil
}

func (r *reconciler) requeue(ctx context.Context, queue, id, owner string, crashed bool) {
	moved, err := r.server.Requeue(ctx, queue, id, owner, crashed)
	delete(r.unclaimed, taskKey{queue, id})
	if err != nil || !moved {
		return // the next sweep sees it, or another worker was faster
	}
	reason := "nobody had it"
	if crashed {
		reason = "its worker died"
	}
	r.log.Warn().Str("task_id", id).Str("why", reason).Msg("task requeued")
}

// announceUnconfirmed announces audited tasks that stay unconfirmed. The ages are kept in
// Redis, so that no worker announces what another one, or it itself before a restart,
// has announced.
func (r *reconciler) announceUnconfirmed(ctx context.Context, queue string) error {
	now, err := r.server.general.Time(ctx).Result()
	if err != nil {
		return err
	}
	announced, err := r.store.Announced(ctx, queue)
	if err != nil {
		return err
	}
	ages := map[string]time.Duration{}
	var aged []string
	err = r.store.EachUnconfirmed(ctx, queue, now.Add(-unconfirmedAges[0]), func(id string, due time.Time) error {
		last := announced[id]
		delete(announced, id)
		if age := r.announce(id, now.Sub(due), last); age > last {
			ages[id] = age
		}
		if now.Sub(due) >= unconfirmedAges[len(unconfirmedAges)-1] {
			aged = append(aged, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range aged {
		if err := r.store.ForgetUnconfirmed(ctx, queue, id); err != nil {
			return err
		}
	}
	// Those that are left of announced are confirmed. An aged one is, at the next time.
	return r.store.SetAnnounced(ctx, queue, ages, slices.Collect(maps.Keys(announced)))
}

// announce announces an unconfirmed task once at each age after the last one at which it
// was announced, and returns the new last one.
func (r *reconciler) announce(id string, unconfirmed, last time.Duration) time.Duration {
	for _, age := range unconfirmedAges {
		if unconfirmed < age || last >= age {
			continue
		}
		last = age
		r.alert(alert.Alert{
			Kind:    alert.TaskUnconfirmed,
			Subject: id,
			Data:    map[string]string{"age": age.String()},
		})
	}
	return last
}

// trimOutbox deletes ends that nobody has published in time.
func (r *reconciler) trimOutbox(ctx context.Context, queue string) (err error) {
	r.outbox[queue], err = r.store.TrimOutbox(ctx, queue, r.outbox[queue], outboxTTL)
	return err
}
