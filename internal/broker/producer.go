package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/record"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
	"errand.internal/internal/tracing"
)

// Producer stores tasks. It is safe for concurrent use.
type Producer struct {
	rdb   redis.UniversalClient
	store *record.Store
	ring  *seal.Ring
	gate  formatGate

	pressure   pressure
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
	// By names the API key that asked for the task; "" for a producer with Redis of its own.
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
	stored := p.EnqueueAll(ctx, []Job{job})[0]
	return stored.Ticket, stored.Err
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
	for i, job := range jobs {
		job.Policy = job.Policy.WithDefaults()
		queue := job.Policy.Queue
		if byQueue[queue] == nil {
			queues = append(queues, queue)
		}
		jobCtx, span := startSpan(ctx, job)
		e := p.newEnqueuing(jobCtx, record.NewID(queue), job, nil)
		e.stored = &stored[i]
		if span != nil {
			defer endSpan(span, e.stored)
		}
		byQueue[queue] = append(byQueue[queue], e)
	}
	for _, queue := range queues {
		p.storeAll(ctx, queue, byQueue[queue])
	}
	return stored
}

// enqueuing is a job on its way.
type enqueuing struct {
	id  string
	job Job
	// replayed is the dead letter that it replays, nil for none.
	replayed *deadLetter
	msg      message
	stored   *Stored
}

// startSpan starts the span of a job where there is a trace, else it returns nil.
func startSpan(ctx context.Context, job Job) (context.Context, trace.Span) {
	if !tracing.Active(ctx) {
		return ctx, nil
	}
	const name = "enqueue"
	queue := job.Policy.Queue
	return tracing.Start(
		ctx,
		name+" "+queue,
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(tracing.Queue(name, queue, semconv.MessagingOperationTypeSend)...),
		trace.WithAttributes(tracing.TaskType.String(job.Type)),
	)
}

func endSpan(span trace.Span, s *Stored) {
	defer span.End()
	if s.Err != nil {
		tracing.Fail(span, "not_stored")
		return
	}
	span.SetAttributes(
		semconv.MessagingMessageID(s.Ticket.ID),
		tracing.Duplicate.Bool(s.Ticket.Duplicate),
	)
}

func (p *Producer) newEnqueuing(ctx context.Context, id string, job Job, replayed *deadLetter) *enqueuing {
	sealed := p.ring.Seal(seal.Payload, aad(job.Type, id), job.Payload)
	return &enqueuing{
		id:       id,
		job:      job,
		replayed: replayed,
		msg:      newMessage(id, job, sealed, tracing.Parent(ctx)),
		stored:   &Stored{},
	}
}

const (
	// callTasks is the most tasks in one call of the script, during which Redis does
	// nothing else.
	callTasks = 64
	// callSize is about how many bytes the tasks of a call may have together.
	callSize = 1 << 20
)

// storeAll stores jobs of a queue.
func (p *Producer) storeAll(ctx context.Context, queue string, list []*enqueuing) {
	if err := p.register(ctx, queue); err != nil {
		for _, e := range list {
			e.stored.Err = failed(e.id, err)
		}
		return
	}
	for range saltTries {
		var again []*enqueuing
		for len(list) > 0 {
			n, size := 1, len(list[0].msg)
			for n < min(len(list), callTasks) && size+len(list[n].msg) <= callSize {
				size += len(list[n].msg)
				n++
			}
			again = append(again, p.call(ctx, queue, list[:n])...)
			list = list[n:]
		}
		if list = again; len(list) == 0 {
			return
		}
	}
	for _, e := range list {
		e.stored.Err = fmt.Errorf("store the task: %w", errSalt)
	}
}

// register tells asynq of a queue, as its client does: before the first task.
func (p *Producer) register(ctx context.Context, queue string) error {
	if _, known := p.registered.Load(queue); known {
		return nil
	}
	if err := p.rdb.SAdd(ctx, record.QueuesKey, queue).Err(); err != nil {
		return err
	}
	p.registered.Store(queue, true)
	return nil
}

// call stores jobs of a queue with one call of the script. It returns those whose digests
// were made with another salt than Redis', which is known now.
func (p *Producer) call(ctx context.Context, queue string, list []*enqueuing) (again []*enqueuing) {
	packed := make([]any, len(list))
	for i, e := range list {
		a := p.arguments(e.id, e.job, e.replayed)
		p.pressure.ask(queue, &a)
		a.add("msg", []byte(e.msg))
		packed[i] = a.encode()
	}
	keys := []string{record.Prefix(queue), asynqPrefix(queue)}
	answer, err := enqueueStep.Run(ctx, p.rdb, keys, packed...)
	for i, e := range list {
		reply, err := answer, err
		if len(list) > 1 && err == nil {
			reply, err = answer.Part(i, len(list))
		}
		switch {
		case err != nil:
			e.stored.Err = failed(e.id, err)
		case reply.Text(0) == "salt": // another producer's was first
			p.store.SetSalt(queue, reply.Text(1))
			again = append(again, e)
		case reply.Text(0) == "full" || reply.Text(0) == "memory":
			e.stored.Err = p.pressure.refuse(queue, reply)
		default:
			e.stored.Ticket, e.stored.Err = ticket(reply)
		}
	}
	return again
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

func usable(job Job, policy Policy) time.Duration {
	if job.ExpireAfter > 0 {
		return job.ExpireAfter
	}
	return policy.Budget
}

// arguments are those of the script, but for asynq's message.
func (p *Producer) arguments(id string, job Job, replayed *deadLetter) arguments {
	policy := job.Policy
	salt := p.store.Salt(policy.Queue)
	o := newOnce(policy, salt)
	o.notify, o.scheduled = job.Notify, job.Scheduled
	a := arguments{"id", id, "type", job.Type, "usable", usable(job, policy).Milliseconds()}
	if job.Key != "" {
		o.key = record.KeyDigest(salt, job.Type, job.Key)
	}
	if replayed != nil {
		a = replayed.describe(a, &o)
	}
	if o.key != "" {
		a.add("key", o.key)
		a.add("sum", record.Digest(salt, "payload", job.Type, string(job.Payload)))
	}
	if job.UniqueWhileActive != "" {
		o.alone = record.Digest(salt, "alone", job.Type, job.UniqueWhileActive)
		a.add("alone", o.alone)
	}
	of := indexDigests(policy, salt)
	a.text("of", of)
	if o.key+o.alone+o.intent+of != "" {
		a.add("salt", salt)
	}
	a.flag("intent", o.intent != "")
	a.add("once", o.encode())
	a.time("at", job.At)
	a.span("delay", max(job.In, 0))
	a.flag("plain", !p.ring.Enabled())
	a.time("before", job.EnqueueBefore)
	if job.By != "" {
		a.add("by", job.By)
	}
	if policy.AuditSubject != "" {
		a.add("subject", p.ring.Seal(seal.Payload, auditAAD(job.Type), []byte(policy.AuditSubject)))
	}
	return a
}

// indexDigests are the digests by which a task of a policy is found.
func indexDigests(p Policy, salt string) string {
	var digests []string
	for _, subject := range p.Subjects {
		if record.PlainSubject(subject) != "" && len(digests) < record.MaxSubjects {
			digests = append(digests, record.SubjectDigest(salt, subject))
		}
	}
	for _, id := range p.VendorIDs {
		if len(digests) < record.MaxSubjects {
			digests = append(digests, record.VendorIDDigest(salt, id))
		}
	}
	slices.Sort(digests)
	return strings.Join(slices.Compact(digests), " ")
}

// failed says what an error of Redis means for the task: an error reply, or no
// connection, that it was not stored.
func failed(id string, err error) error {
	wrapped := fmt.Errorf("store the task: %w", err)
	if _, replied := errors.AsType[redis.Error](err); replied {
		return wrapped
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return wrapped
	}
	return &UnconfirmedError{ID: id, Err: wrapped}
}

// ticket reads the reply of the script.
func ticket(reply redisscript.Reply) (Ticket, error) {
	t := Ticket{ID: reply.Text(1)}
	switch reply.Text(0) {
	case "conflict":
		return t, record.ErrKeyConflict
	case "overlap":
		return t, record.ErrAlreadyActive
	case "late":
		return t, record.ErrLate
	case "unsealed":
		return t, ErrKeysRequired
	case "replayed":
		return t, replayedAs(t.ID)
	case "alive":
		return t, notReplayed("it has not ended, or is no dead letter")
	case "duplicate":
		t.Duplicate = true
		t.Outcome = record.Outcome(reply.Text(3))
	case "created":
	default:
		return t, &UnconfirmedError{ID: t.ID, Err: fmt.Errorf("store the task: Redis answered %q", reply.Text(0))}
	}
	if t.ID == "" {
		return t, &UnconfirmedError{Err: errors.New("store the task: Redis answered without an ID")}
	}
	t.Due = record.DecodeAsked(reply.Text(2)).Due
	return t, nil
}

// aad binds a sealed value to its task, so that it cannot be moved to another.
func aad(taskType, id string) string {
	return taskType + "#" + id
}

func auditAAD(taskType string) string {
	return taskType + "#trail"
}

// OpenSubject opens the subject of an entry of the audit log.
func OpenSubject(ring *seal.Ring, e record.AuditEntry) (string, error) {
	plain, err := ring.Open(seal.Payload, auditAAD(e.Type), e.Subject)
	return string(plain), err
}

// OpenResult opens the result in a record. It returns nil if there is none.
func OpenResult(ring *seal.Ring, r *record.Record) ([]byte, error) {
	if len(r.Data) == 0 {
		return nil, nil
	}
	return ring.Open(seal.Result, aad(r.Type, r.ID), r.Data)
}

// SealResult seals a result for a task's record.
func SealResult(ring *seal.Ring, taskType, id string, result []byte) []byte {
	return ring.Seal(seal.Result, aad(taskType, id), result)
}

// OpenPayload opens the payload of a claimed task. A plain asynq client's is not
// sealed; a strict ring refuses it.
func OpenPayload(ring *seal.Ring, c *Claim) ([]byte, error) {
	if !c.sealed() {
		return ring.OpenPlain(c.Payload)
	}
	return ring.Open(seal.Payload, aad(c.Type, c.ID), c.Payload)
}
