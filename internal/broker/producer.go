package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/seal"
)

// Producer stores tasks. It is safe for concurrent use.
type Producer struct {
	rdb   redis.UniversalClient
	store *record.Store
	ring  *seal.Ring
	gate  formatGate

	pressure   pressure
	unanswered unanswered
	registered sync.Map // the queues that asynq has been told of
}

// NewProducer returns a Producer on rdb. ring may be nil: nothing is sealed.
func NewProducer(rdb redis.UniversalClient, store *record.Store, ring *seal.Ring) *Producer {
	return &Producer{rdb: rdb, store: store, ring: ring}
}

// Job is one task to enqueue.
type Job struct {
	Type string
	// Payload is plain JSON that has been validated.
	Payload []byte
	// Decoded says that Payload is the encoding of what package payload has decoded, which
	// refuses what an encoding would change.
	Decoded bool
	Policy  Policy
	// Key makes the task the only one of its type with that key.
	Key string
	// At or In delay the start.
	At time.Time
	In time.Duration
	// ExpireAfter replaces the policy's budget if it is not 0.
	ExpireAfter time.Duration
	Notify      bool
	// UniqueWhileActive refuses the job with record.ErrAlreadyActive while an earlier
	// one of the same type and UniqueWhileActive has not ended.
	UniqueWhileActive string
	// Scheduled says that a schedule enqueues the task, and enqueues it again with
	// another key if it fails. Its own key is not freed by its end.
	Scheduled bool
	// By names the API key that asked for the task, or is record.BySchedule of a schedule; ""
	// for a producer with Redis of its own.
	By string
	// EnqueueBefore is the last moment, by Redis' clock, at which it may be stored;
	// zero for none. Later it is refused with record.ErrLate.
	EnqueueBefore time.Time
}

// Ticket says which task a Job became.
type Ticket struct {
	ID        string
	Duplicate bool
	// Outcome is the duplicate's, if it has ended.
	Outcome record.Outcome
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

// Unwrap returns the cause.
func (e *UnconfirmedError) Unwrap() error {
	return e.Err
}

// Stored is what became of a job.
type Stored struct {
	Ticket Ticket
	Err    error
}

// Enqueue stores the job and returns once Redis has it: its key, its record, its
// line in the audit log and asynq's task, all of them or nothing.
func (p *Producer) Enqueue(ctx context.Context, job Job) (Ticket, error) {
	if err := p.ready(ctx); err != nil {
		return Ticket{}, fmt.Errorf("store the task: %w", err)
	}
	e := p.begin(ctx, job)
	p.storeAll(ctx, e.job.Policy.Queue, []*enqueuing{e})
	p.end(e)
	return e.stored.Ticket, e.stored.Err
}

// EnqueueAll is Enqueue for many jobs. Those of a queue are stored in their order and share
// calls of the script, in which each has an answer of its own: some may be stored and others
// not.
func (p *Producer) EnqueueAll(ctx context.Context, jobs []Job) []Stored {
	stored := make([]Stored, len(jobs))
	if len(jobs) == 0 {
		return stored
	}
	if err := p.ready(ctx); err != nil {
		for i := range stored {
			stored[i].Err = fmt.Errorf("store the task: %w", err)
		}
		return stored
	}
	var queues []string
	byQueue := map[string][]*enqueuing{}
	list := make([]*enqueuing, len(jobs))
	for i, job := range jobs {
		e := p.begin(ctx, job)
		list[i] = e
		queue := e.job.Policy.Queue
		if byQueue[queue] == nil {
			queues = append(queues, queue)
		}
		byQueue[queue] = append(byQueue[queue], e)
	}
	for _, queue := range queues {
		p.storeAll(ctx, queue, byQueue[queue])
	}
	for i, e := range list {
		p.end(e)
		stored[i] = e.stored
	}
	return stored
}

// ready reports why nothing can be stored: this program or Redis is of another release.
func (p *Producer) ready(ctx context.Context) error {
	if err := CheckAsynq(); err != nil {
		return err
	}
	return p.gate.pass(ctx, p.rdb)
}

// saltTries is how often a producer may learn another salt: once, unless Redis is
// emptied in between.
const saltTries = 3

// ErrKeysRequired says that the workers of the queue demand encryption and that the
// producer has no keys. Nothing was stored.
var ErrKeysRequired = errors.New(
	"the workers demand encryption (ENCRYPTION_REQUIRED): set ENCRYPTION_KEYS to their keys",
)

var errSalt = errors.New("the salt in Redis keeps changing")

// headerUsable is how long after its start a task is worth running. The record has
// the times; the header is for a task whose record Redis has lost.
const headerUsable = "errand-usable"

func usable(job *Job) time.Duration {
	if job.ExpireAfter > 0 {
		return job.ExpireAfter
	}
	return job.Policy.Budget
}
