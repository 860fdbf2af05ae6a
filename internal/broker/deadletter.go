package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/seal"
)

// Replay says how a dead letter is replayed: as a new task with the same payload, type
// and key, and with a time budget of its own.
type Replay struct {
	// EvenIfItHappened lets a task that ended unknown be replayed.
	EvenIfItHappened bool
	// DryRun only reports whether the task would be replayed.
	DryRun bool
	// Turn, if not nil, is called before the new task is stored, and waits for its turn.
	Turn func(ctx context.Context) error
	// Policy reads a payload strictly, and returns the policy of its task.
	Policy func(taskType string, payload []byte) (Policy, error)
}

// NotReplayedError says why a task is not replayed.
type NotReplayedError struct {
	// Reason is a sentence about the task, without its ID.
	Reason string
	// As is the task that replays it already, "" if there is none.
	As string
	// Unknown says that only EvenIfItHappened is missing.
	Unknown bool
}

// Error implements error.
func (e *NotReplayedError) Error() string {
	return e.Reason
}

func notReplayed(format string, args ...any) error {
	return &NotReplayedError{Reason: fmt.Sprintf(format, args...)}
}

func replayedAs(id string) error {
	return &NotReplayedError{Reason: "it was replayed as " + id, As: id}
}

// Replay enqueues a dead letter once more. The new task and the mark on the old one are
// written in one script, so that a dead letter has one replay, however often this is
// called and wherever it breaks off. It returns a *NotReplayedError if the task is not
// replayed, record.ErrNotFound or record.ErrBadID if there is none.
func (p *Producer) Replay(ctx context.Context, id string, o Replay) (ticket Ticket, err error) {
	err = p.store.InQueue(ctx, id, func(queue string) (err error) {
		ticket, err = p.replay(ctx, queue, id, o)
		return err
	})
	return ticket, err
}

func (p *Producer) replay(ctx context.Context, queue, id string, o Replay) (Ticket, error) {
	old, err := p.deadLetter(ctx, queue, id)
	if err != nil {
		return Ticket{}, err
	}
	if err := old.refuse(o); err != nil {
		return Ticket{}, err
	}
	plain, err := old.open(p.ring)
	if err != nil {
		return Ticket{}, fmt.Errorf("open the payload of %s: %w", id, err)
	}
	policy, err := o.Policy(old.parts.taskType, plain)
	switch {
	case err != nil:
		return Ticket{}, notReplayed("its payload is refused: %v", err)
	case policy.Queue != queue:
		return Ticket{}, notReplayed("its type has moved to the queue %s: enqueue it anew", policy.Queue)
	case o.DryRun:
		return Ticket{}, nil
	}
	if err := p.ready(ctx); err != nil {
		return Ticket{}, fmt.Errorf("store the task: %w", err)
	}
	if o.Turn != nil {
		if err := o.Turn(ctx); err != nil {
			return Ticket{}, err
		}
	}
	// Whether it is stored must be known, also if the caller is interrupted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replayTimeout)
	defer cancel()
	job := Job{
		Type:    old.parts.taskType,
		Payload: plain,
		Policy:  policy.WithDefaults(),
		Notify:  old.once.notify,
	}
	e := p.newEnqueuing(ctx, record.NewID(queue), job, old)
	p.storeAll(ctx, queue, []*enqueuing{e})
	ticket, err := e.stored.Ticket, e.stored.Err
	switch {
	case errors.Is(err, record.ErrKeyConflict), err == nil && ticket.Duplicate:
		return Ticket{}, notReplayed("its key belongs to a later task by now: %s", ticket.ID)
	case err != nil:
		return Ticket{}, err
	}
	return ticket, nil
}

// replayTimeout bounds the storing of one replay.
const replayTimeout = 5 * time.Second

// deadLetter is what a replay needs of the task that it replays.
type deadLetter struct {
	queue  string
	id     string
	fields map[string]string
	once   once
	parts  parts
	kept   bool // the payload
}

func (p *Producer) deadLetter(ctx context.Context, queue, id string) (*deadLetter, error) {
	pipe := p.rdb.Pipeline()
	fields := pipe.HGetAll(ctx, record.Key(queue, id))
	msg := pipe.HGet(ctx, asynqPrefix(queue)+"t:"+id, "msg")
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read the dead letter: %w", err)
	}
	d := &deadLetter{
		queue:  queue,
		id:     id,
		fields: fields.Val(),
		once:   decodeOnce(fields.Val()["once"]),
	}
	if len(d.fields) == 0 {
		return nil, record.ErrNotFound
	}
	d.parts, d.kept = message(msg.Val()).parts()
	d.kept = d.kept && msg.Val() != ""
	return d, nil
}

// refuse returns why the dead letter is not replayed; nil if it may be.
func (d *deadLetter) refuse(o Replay) error {
	outcome := record.Outcome(d.fields["outcome"])
	switch {
	case d.fields["once"] == "" || d.fields["asked"] == "":
		return notReplayed("its record is not whole")
	case outcome == "":
		return notReplayed("it has not ended")
	case !outcome.Archived():
		return notReplayed("it ended %s and is no dead letter", outcome)
	case d.fields["replay"] != "":
		return replayedAs(d.fields["replay"])
	case outcome == record.Unknown && !o.EvenIfItHappened:
		return &NotReplayedError{
			Reason:  "it ended unknown and may have happened: ask the vendor first, then use --even-if-it-happened",
			Unknown: true,
		}
	case !d.kept:
		return notReplayed("its payload is no longer kept: enqueue it anew")
	}
	return nil
}

func (d *deadLetter) open(ring *seal.Ring) ([]byte, error) {
	if _, ours := d.parts.headers[headerUsable]; !ours {
		return ring.OpenPlain(d.parts.payload)
	}
	return ring.Open(seal.Payload, aad(d.parts.taskType, d.id), d.parts.payload)
}

// describe adds to the arguments of a new task that it is a replay. The key is the old
// task's, and so is the place among the intents of its subject: what was superseded since
// stays so.
func (d *deadLetter) describe(a arguments, o *once) arguments {
	a.add("replay_of", d.id)
	if !d.once.scheduled { // a schedule's keys are not freed, and each names one tick
		o.key = d.once.key
	}
	if o.intent != "" {
		a.text("seq", d.fields["seq"])
	}
	if d.fields["outcome"] == string(record.Unknown) && o.redelivery == Reconciled {
		a.add("doubt", 0) // it is looked up before it runs
	}
	return a
}
