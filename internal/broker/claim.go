package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/tracing"
)

// Verdict says what a claim is for.
type Verdict string

// The verdicts.
const (
	// Run says that the task may run.
	Run Verdict = "go"
	// Abandoned says that a worker died while it called the vendor, and that the
	// task may not run twice.
	Abandoned Verdict = "abandoned"
	// OutOfTime says that the task's time was up when it was claimed.
	OutOfTime Verdict = "expired"
	// Crashed says that the task has killed its worker too often.
	Crashed Verdict = "crashed"
	// Overtaken says that a newer intent for the same subject has made it wrong to run.
	Overtaken Verdict = "superseded"
	// Unrecorded says that there was no record: a plain asynq client has enqueued the
	// task, or Redis has lost the record.
	Unrecorded Verdict = "unrecorded"
)

// Claim is a task that this worker has taken and that no other worker runs. It must
// be settled once, by End or Adopt.
type Claim struct {
	ID      string
	Type    string
	Queue   string
	Verdict Verdict
	// Payload is the payload as the producer sealed it.
	Payload []byte
	// Attempts counts the attempts before this one that counted against the budget.
	Attempts int
	// Called says that the vendor may have been called before, also if that counted as no
	// attempt: it answered "not now", or the worker died.
	Called  bool
	Due     time.Time
	Expires time.Time
	// Foreign says that a plain asynq client enqueued the task.
	Foreign bool
	// Notify says that the task was enqueued with Notify.
	Notify bool
	// Scheduled says that a schedule enqueued the task.
	Scheduled bool
	// Audited says that the audit log keeps what becomes of the task.
	Audited bool
	// Version is the PayloadVersion of the task's producer.
	Version int
	// AtLeastOnce says that a second run does no harm.
	AtLeastOnce bool
	// Reconfirm says that an opening that this closing overtook ended unknown and may
	// take effect late; the closing has to be confirmed once more.
	Reconfirm bool
	// InDoubt says that an earlier attempt of a reconciled task may have happened.
	// Lookups counts how often it was looked for since, and not found.
	InDoubt bool
	Lookups int
	// Place is where the latest lookup was when it broke off.
	Place string

	server *Server
	fence  string
	asked  record.Asked
	once   once
	msg    message
	parts  parts
	// takenAt and sentAt are the same moment by Redis' clock and by this process'.
	takenAt time.Time
	sentAt  time.Time

	starting sync.Mutex // a Start or a requeue is under way

	vacated atomic.Bool // its slot runs another task, or is about to

	mu      sync.Mutex
	started bool
	settled bool
}

// unrecordedBudget is how long a task without a record waits for a worker that knows
// its type.
const unrecordedBudget = 24 * time.Hour

// newClaim reads one claim of the reply of the take script.
func (s *Server) newClaim(queue string, r redisscript.Reply, now, sent time.Time) *Claim {
	asked := record.DecodeAsked(r.Text(4))
	c := &Claim{
		ID:        r.Text(0),
		Queue:     queue,
		Verdict:   Verdict(r.Text(2)),
		Attempts:  int(r.Int(6)),
		Called:    r.Text(6) != "",
		Due:       asked.Due,
		Expires:   asked.Expires(),
		InDoubt:   r.Text(7) != "",
		Lookups:   int(r.Int(7)),
		Reconfirm: r.Text(8) == "1",
		Place:     r.Text(9),
		server:    s,
		fence:     r.Text(3),
		asked:     asked,
		once:      decodeOnce(r.Text(5)),
		msg:       message(r.Text(1)),
		takenAt:   now,
		sentAt:    sent,
	}
	c.parts, _ = c.msg.parts()
	c.Type, c.Payload = c.parts.taskType, c.parts.payload
	c.Notify = c.once.notify
	c.Scheduled = c.once.scheduled
	c.Version = c.once.version
	c.AtLeastOnce = c.once.redelivery == AtLeastOnce
	c.Audited = c.once.audited
	if c.Verdict == Unrecorded {
		c.Foreign = !c.sealed()
		c.Expires = c.Due.Add(cmp.Or(c.Usable(), unrecordedBudget))
	}
	return c
}

// Now is the time by Redis' clock.
func (c *Claim) Now() time.Time {
	return c.takenAt.Add(time.Since(c.sentAt))
}

// sealed reports whether a producer of Errand's wrote the payload.
func (c *Claim) sealed() bool {
	_, ours := c.parts.headers[headerUsable]
	return ours
}

// Completed reports whether asynq has recorded that the task ended well. It tells
// only of an Unrecorded one.
func (c *Claim) Completed() bool {
	return c.parts.completed
}

// Usable is how long after its start an Unrecorded task of our own is worth
// running; 0 if its producer did not say.
func (c *Claim) Usable() time.Duration {
	d, err := time.ParseDuration(c.parts.headers[headerUsable])
	if err != nil {
		return 0
	}
	return d
}

// Traceparent is the trace of the task's producer; "" if it has none.
func (c *Claim) Traceparent() string {
	return c.parts.headers[tracing.Header]
}

// ReplayedTrace is the trace of the dead letter that the task replays; "" if there is none.
func (c *Claim) ReplayedTrace() string {
	return c.parts.headers[headerReplayed]
}

// Returned reports whether an earlier claim has put the task back, whether it called the
// vendor or not.
func (c *Claim) Returned() bool {
	return c.parts.failed
}

// NotStartedError says that Redis did not take that a call starts, or that the call had
// to wait after a failover for longer than it may take, so that it was not made.
type NotStartedError struct{ Err error }

// Error implements error.
func (e *NotStartedError) Error() string {
	return "write that the call starts: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *NotStartedError) Unwrap() error {
	return e.Err
}

// Start must be called before the vendor is, unless the task runs at least once: it
// tells Redis that the call may have left. It returns record.ErrStale if another
// worker has the task by now, or the claim is settled, and then nothing may be sent.
func (c *Claim) Start(ctx context.Context) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	switch started, settled := c.progress(); {
	case settled:
		return record.ErrStale
	case started:
		return nil
	}
	if err := c.server.replay.wait(ctx); err != nil {
		return &NotStartedError{Err: err}
	}
	reply, err := run(ctx, c.server.general, startStep, c.Queue, newArguments("id", c.ID, "fence", c.fence))
	switch {
	case err != nil:
		return &NotStartedError{Err: err}
	case !reply.Bool(0):
		return record.ErrStale
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled { // meanwhile
		return record.ErrStale
	}
	c.started = true
	c.server.replay.start(c)
	return nil
}

// Forbid has every Start fail from now on. It reports whether none has succeeded, so
// that the call surely did not and will not leave.
func (c *Claim) Forbid() bool {
	c.settle()
	started, _ := c.progress()
	return !started
}

func (c *Claim) progress() (started, settled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started, c.settled
}

// description are the arguments with which a script can write the record anew.
func (c *Claim) description() arguments {
	asked := c.asked
	asked.Type, asked.Usable = c.Type, c.Expires.Sub(c.Due)
	return newArguments("asked", asked.Encode(), "once", c.once.encode())
}

// Adopt gives an Unrecorded task the policy of its type, and puts it back into the
// queue, from where it is taken like any other. inDoubt says that an earlier call may
// have happened.
func (c *Claim) Adopt(p Policy, inDoubt bool) error {
	p = p.WithDefaults()
	budget := p.Budget
	if own := c.Usable(); own > 0 {
		budget = own
	}
	c.settle()
	defer c.server.forget(c)
	return c.server.insist(func(ctx context.Context) error {
		for range saltTries {
			reply, err := run(ctx, c.server.general, adoptStep, c.Queue, c.adoptArguments(p, budget, inDoubt))
			switch {
			case err != nil:
				return fmt.Errorf("adopt the task: %w", err)
			case reply.Text(0) == "salt": // a producer's was first
				c.server.store.SetSalt(c.Queue, reply.Text(1))
				continue
			case !reply.Bool(0):
				return record.ErrStale
			}
			return nil
		}
		return errSalt
	})
}

func (c *Claim) adoptArguments(p Policy, budget time.Duration, inDoubt bool) arguments {
	salt := c.server.store.Salt(c.Queue)
	o := newOnce(p, salt)
	asked := c.asked
	asked.Type, asked.Usable = c.Type, budget
	a := newArguments(
		"id", c.ID,
		"owner", c.server.owner,
		"fence", c.fence,
		"asked", asked.Encode(),
		"once", o.encode(),
		"msg", []byte(c.msg.adopted(p.Retention)),
	)
	a.flag("intent", o.intent != "")
	of := indexDigests(p, salt)
	a.text("of", of)
	if o.intent+of != "" {
		a.add("salt", salt)
	}
	if inDoubt {
		a.add("doubt", 0)
	}
	return a
}

// FreeSlot gives the slot of a handler that does not return to the next task.
func (c *Claim) FreeSlot() {
	if d := c.server.dispatches[c.Queue]; c.vacated.CompareAndSwap(false, true) {
		d.inFlight.Add(-1)
		go d.slot()
	}
}

// settle says that the handler has decided: nobody may put the task back any more.
func (c *Claim) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
}

// requeue puts a claim back that has not started and is not settled.
func (c *Claim) requeue(ctx context.Context) {
	c.starting.Lock()
	defer c.starting.Unlock()
	c.mu.Lock()
	idle := !c.started && !c.settled
	c.settled = c.settled || idle
	c.mu.Unlock()
	if !idle {
		return
	}
	if _, err := c.server.Requeue(ctx, c.Queue, c.ID, c.server.owner, false); err != nil {
		c.server.log.Warn().Err(err).Str("task_id", c.ID).Msg("task not requeued; another worker will do it")
	}
	c.server.forget(c)
}

// RecoverPanic is to be deferred where a goroutine works on the claim. A panic costs this
// attempt only, and counts as the death of the worker would: the third one ends the task.
func (c *Claim) RecoverPanic() {
	value := recover()
	if value == nil {
		return
	}
	c.server.log.Error().
		Str("task_id", c.ID).
		Str("type", c.Type).
		Str("stack", string(debug.Stack())).
		Str("panic", fmt.Sprintf("%T", value)).
		Msg("the worker panicked over a task")
	c.settle()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if _, err := c.server.Requeue(ctx, c.Queue, c.ID, c.server.owner, true); err != nil {
		c.server.log.Warn().Err(err).Str("task_id", c.ID).Msg("task not requeued; another worker will do it")
	}
	c.server.forget(c)
}

// insist calls do until Redis has answered, or the process exits.
func (s *Server) insist(do func(ctx context.Context) error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := do(context.Background())
		if err == nil || errors.Is(err, record.ErrStale) {
			return err
		}
		if !redisconn.NotNow(err) {
			s.log.Error().Err(err).Msg("Redis refuses a step of a task; trying again")
		}
		select {
		case <-time.After(wait):
		case <-s.gone:
			return err
		}
	}
}
