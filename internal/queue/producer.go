package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/ledger"
	"errand.internal/internal/seal"
)

// Producer puts tasks into the queue. It is safe for concurrent use.
type Producer struct {
	store *ledger.Store
	asynq *asynq.Client
	tasks *asynq.Inspector
	ring  *seal.Ring
}

// NewProducer returns a Producer on rdb. ring may be nil: nothing is sealed.
func NewProducer(rdb redis.UniversalClient, store *ledger.Store, ring *seal.Ring) *Producer {
	return &Producer{store: store, asynq: asynq.NewClientFromRedisClient(rdb), tasks: asynq.NewInspectorFromRedisClient(rdb), ring: ring}
}

// Job is one task to enqueue.
type Job struct {
	Type string
	// Payload is plain JSON that has been checked.
	Payload []byte
	Policy  Policy
	// Key makes the task the only one of its type with that key.
	Key string
	// At or In delay the start. Usable, if not 0, replaces the budget.
	At          time.Time
	In          time.Duration
	ExpireAfter time.Duration
	Notify      bool
	// UniqueWhileActive refuses the job with ledger.ErrAlreadyActive while an earlier one of the
	// same type and UniqueWhileActive is under way.
	UniqueWhileActive string
	// Scheduled: a schedule asks for it, and asks again with another key if it
	// fails. Its own key is not freed by its end.
	Scheduled bool
	// EnqueueBefore is the last moment, by Redis' clock, at which it may be created; zero for
	// none. Later it is refused with ledger.ErrLate.
	EnqueueBefore time.Time
}

// Ticket says which task a Job became.
type Ticket struct {
	ID        string
	Duplicate bool
	// Outcome is the duplicate's, if it has ended.
	Outcome ledger.Outcome
	Due     time.Time
}

// UnconfirmedError says that the task may or may not be in the queue.
type UnconfirmedError struct {
	ID  string
	Err error
}

// Error implements error.
func (e *UnconfirmedError) Error() string {
	return "the task may not have been stored (with a key it is safe to ask again): " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *UnconfirmedError) Unwrap() error { return e.Err }

// Enqueue stores the job and returns once Redis has it. It first writes the
// record, which settles whose the key is, then hands the task to asynq. Both
// steps may be repeated: asynq refuses a second task with the same ID, which
// here only means that the first try arrived although its reply was lost, or
// that another producer with the same key was faster.
func (p *Producer) Enqueue(ctx context.Context, job Job) (Ticket, error) {
	d := job.Policy.withDefaults()
	usable := d.Budget
	if job.ExpireAfter > 0 {
		usable = job.ExpireAfter
	}
	var trail []byte
	if d.AuditSubject != "" {
		trail = p.ring.Seal(seal.Payload, trailAAD(job.Type), []byte(d.AuditSubject))
	}
	created, err := p.store.Create(ctx, ledger.NewTask{
		Queue: d.Queue, Type: job.Type, Key: job.Key, Payload: job.Payload,
		At: job.At, Delay: job.In, Usable: usable, KeyLife: d.KeyTTL, By: job.EnqueueBefore, Notify: job.Notify, Alone: job.UniqueWhileActive, Held: heldKeys(d.Queue), Trail: trail,
	})
	ticket := Ticket{ID: created.ID, Duplicate: created.Duplicate, Outcome: created.Outcome, Due: created.Due}
	if err != nil {
		return ticket, err
	}
	if created.Duplicate && (created.Started || created.Outcome != "") {
		return ticket, nil
	}
	// A duplicate that no worker has seen is handed over again: its first
	// producer may have died in between.
	payload := p.ring.Seal(seal.Payload, aad(job.Type, created.ID), job.Payload)
	task := asynq.NewTaskWithHeaders(job.Type, payload, headers(created.Due, created.Expires, job))
	// The record's own creation time stands for now: it is the same clock as due.
	_, err = p.asynq.EnqueueContext(ctx, task, asynqOptions(created.ID, d, created.Due, created.Created)...)
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return ticket, &UnconfirmedError{ID: created.ID, Err: fmt.Errorf("hand the task to the queue: %w", err)}
	}
	return ticket, nil
}

// Forget takes a cancelled task out of the queue. If it cannot, a worker meets
// the task, finds it ended and drops it; so nothing is lost by a failure here.
func (p *Producer) Forget(id string) {
	if name, err := ledger.QueueOf(id); err == nil {
		_ = p.tasks.DeleteTask(name, id)
	}
}

// aad binds a sealed value to its task, so that it cannot be moved to another.
func aad(taskType, id string) string { return taskType + "#" + id }

func trailAAD(taskType string) string { return taskType + "#trail" }

// OpenSubject opens the subject of a trail's entry.
func OpenSubject(ring *seal.Ring, e ledger.TrailEntry) (string, error) {
	plain, err := ring.Open(seal.Payload, trailAAD(e.Type), e.Subject)
	return string(plain), err
}

// OpenResult opens the result in a record. It returns nil if there is none.
func OpenResult(ring *seal.Ring, r *ledger.Record) ([]byte, error) {
	if len(r.Data) == 0 {
		return nil, nil
	}
	return ring.Open(seal.Result, aad(r.Type, r.ID), r.Data)
}

// OpenPayload opens the payload of a task in the queue.
func OpenPayload(ring *seal.Ring, taskType, id string, payload []byte) ([]byte, error) {
	return ring.Open(seal.Payload, aad(taskType, id), payload)
}
