package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"
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
	asynq *asynq.Client
	ring  *seal.Ring
	gate  formatGate

	pressure pressure
}

// NewProducer returns a Producer on rdb. ring may be nil: nothing is sealed.
func NewProducer(rdb redis.UniversalClient, store *record.Store, ring *seal.Ring) *Producer {
	rdb.AddHook(producerHook{rdb})
	return &Producer{
		rdb:   rdb,
		store: store,
		asynq: asynq.NewClientFromRedisClient(rdb),
		ring:  ring,
	}
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

// Enqueue stores the job and returns once Redis has it: its key, its record, its
// line in the audit log and asynq's task, all of them or nothing.
func (p *Producer) Enqueue(ctx context.Context, job Job) (Ticket, error) {
	if err := p.ready(ctx); err != nil {
		return Ticket{}, fmt.Errorf("store the task: %w", err)
	}
	job.Policy = job.Policy.WithDefaults()
	id := record.NewID(job.Policy.Queue)
	if tracing.Active(ctx) {
		return p.enqueueTraced(ctx, id, job)
	}
	return p.enqueue(ctx, id, job, nil)
}

// enqueueTraced is enqueue with a span.
func (p *Producer) enqueueTraced(ctx context.Context, id string, job Job) (Ticket, error) {
	const name = "enqueue"
	queue := job.Policy.Queue
	ctx, span := tracing.Start(
		ctx,
		name+" "+queue,
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(tracing.Queue(name, queue, semconv.MessagingOperationTypeSend)...),
		trace.WithAttributes(tracing.TaskType.String(job.Type)),
	)
	defer span.End()
	ticket, err := p.enqueue(ctx, id, job, nil)
	if err != nil {
		tracing.Fail(span, "not_stored")
		return ticket, err
	}
	span.SetAttributes(
		semconv.MessagingMessageID(ticket.ID),
		tracing.Duplicate.Bool(ticket.Duplicate),
	)
	return ticket, nil
}

// enqueue stores the job as the task with the given ID. replayed is the dead letter that
// the task replays, nil for none.
func (p *Producer) enqueue(ctx context.Context, id string, job Job, replayed *deadLetter) (Ticket, error) {
	policy := job.Policy
	headers := map[string]string{headerUsable: usable(job, policy).String()}
	if parent := tracing.Parent(ctx); parent != "" {
		headers[tracing.Header] = parent
	}
	task := asynq.NewTaskWithHeaders(
		job.Type,
		p.ring.Seal(seal.Payload, aad(job.Type, id), job.Payload),
		headers,
	)
	options := []asynq.Option{
		asynq.TaskID(id),
		asynq.Queue(policy.Queue),
		asynq.MaxRetry(neverRetry),
		asynq.Timeout(slotTimeout),
		asynq.Retention(policy.Retention),
	}
	for range saltTries {
		e := &enqueuing{queue: policy.Queue, arguments: p.arguments(id, job, replayed)}
		p.pressure.ask(policy.Queue, &e.arguments)
		_, err := p.asynq.EnqueueContext(context.WithValue(ctx, enqueuingKey{}, e), task, options...)
		if e.err != nil { // asynq keeps only its text
			err = e.err
		}
		if err != nil {
			return Ticket{}, failed(id, err)
		}
		switch e.reply.Text(0) {
		case "salt": // another producer's was first
			p.store.SetSalt(policy.Queue, e.reply.Text(1))
			continue
		case "full", "memory":
			return Ticket{}, p.pressure.refuse(policy.Queue, e.reply)
		}
		return ticket(e.reply)
	}
	return Ticket{}, fmt.Errorf("store the task: %w", errSalt)
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

// enqueuing is a call of asynq's client that the hook turns into one script.
type enqueuing struct {
	queue     string
	arguments arguments

	reply redisscript.Reply
	err   error
}

type enqueuingKey struct{}

func enqueuingFrom(ctx context.Context) *enqueuing {
	e, _ := ctx.Value(enqueuingKey{}).(*enqueuing)
	return e
}

// producerHook sits beneath asynq's client, so that asynq encodes the task itself,
// and stores the record with it.
type producerHook struct{ rdb redis.UniversalClient }

// DialHook implements redis.Hook.
func (producerHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessPipelineHook implements redis.Hook.
func (producerHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h producerHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		e := enqueuingFrom(ctx)
		if e == nil {
			return next(ctx, cmd)
		}
		if !strings.HasPrefix(cmd.Name(), "eval") { // it registers the queue
			e.err = next(ctx, cmd)
			return e.err
		}
		// asynq's script: the name, its hash, 2 keys, and the message.
		const messageArg = 5
		e.arguments.add("msg", cmd.Args()[messageArg])
		ctx = context.WithValue(ctx, enqueuingKey{}, nil)
		e.reply, e.err = run(ctx, h.rdb, enqueueStep, e.queue, e.arguments)
		if e.err != nil {
			return e.err
		}
		cmd.(*redis.Cmd).SetVal(int64(1))
		return nil
	}
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
