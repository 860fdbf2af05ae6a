package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/record"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
	"errand.internal/internal/tracing"
)

// enqueuing is a job on its way.
type enqueuing struct {
	id  string
	job Job
	// replayed is the dead letter that it replays, nil for none.
	replayed *deadLetter
	msg      message
	span     trace.Span // nil without a trace
	stored   Stored
}

// begin prepares a job.
func (p *Producer) begin(ctx context.Context, job Job) *enqueuing {
	job.Policy = job.Policy.WithDefaults()
	ctx, span := startSpan(ctx, &job)
	id := p.unanswered.take(&job)
	if id == "" {
		id = record.NewID(job.Policy.Queue)
	}
	e := p.newEnqueuing(ctx, id, job, nil)
	e.span = span
	return e
}

// startSpan starts the span of a job where there is a trace, else it returns nil.
func startSpan(ctx context.Context, job *Job) (context.Context, trace.Span) {
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

// end notes what became of a job.
func (p *Producer) end(e *enqueuing) {
	p.unanswered.note(e)
	e.endSpan()
}

func (e *enqueuing) endSpan() {
	if e.span == nil {
		return
	}
	defer e.span.End()
	if e.stored.Err != nil {
		tracing.Fail(e.span, "not_stored")
		return
	}
	e.span.SetAttributes(
		semconv.MessagingMessageID(e.stored.Ticket.ID),
		tracing.Duplicate.Bool(e.stored.Ticket.Duplicate),
	)
}

func (p *Producer) newEnqueuing(ctx context.Context, id string, job Job, replayed *deadLetter) *enqueuing {
	sealed := p.ring.Seal(seal.Payload, aad(job.Type, id), job.Payload)
	msg := newMessage(id, &job, sealed, tracing.Parent(ctx))
	if replayed != nil && replayed.fields["trace"] != "" {
		msg = msg.header(headerReplayed, replayed.fields["trace"])
	}
	return &enqueuing{
		id:       id,
		job:      job,
		replayed: replayed,
		msg:      msg,
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
		a := p.arguments(e)
		p.pressure.ask(queue, &a)
		packed[i] = []byte(a)
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
			e.stored.Ticket, e.stored.Err = ticket(e.id, reply)
		}
	}
	return again
}

// arguments are those of the script.
func (p *Producer) arguments(e *enqueuing) arguments {
	job, replayed := &e.job, e.replayed
	policy := job.Policy
	salt := p.store.Salt(policy.Queue)
	o := newOnce(policy, salt)
	o.notify, o.scheduled = job.Notify, job.Scheduled
	a := newArguments(
		"msg", []byte(e.msg),
		"id", e.id,
		"type", job.Type,
		"usable", usable(job).Milliseconds(),
	)
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

// ticket reads the reply of the script about the task with an ID.
func ticket(id string, reply redisscript.Reply) (Ticket, error) {
	if len(reply) == 1 {
		asked := record.DecodeAsked(reply.Text(0))
		if asked.Created.IsZero() {
			return Ticket{ID: id}, strange(id, reply)
		}
		return Ticket{ID: id, Due: asked.Due}, nil
	}
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
		if t.ID == "" {
			return t, strange(id, reply)
		}
		t.Duplicate = true
		t.Due = record.DecodeAsked(reply.Text(2)).Due
		t.Outcome = record.Outcome(reply.Text(3))
		return t, nil
	}
	return t, strange(id, reply)
}

// strange is the error of a reply that says nothing about a task.
func strange(id string, reply redisscript.Reply) error {
	return &UnconfirmedError{ID: id, Err: fmt.Errorf("store the task: Redis answered %q", reply.Text(0))}
}
