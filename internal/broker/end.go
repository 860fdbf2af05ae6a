package broker

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/record"
)

// Result is what became of a claimed task.
type Result struct {
	// Attempt is nil if the vendor was not called.
	Attempt *record.Attempt
	// Counted says that the attempt counts against the task's budget of attempts.
	Counted bool
	// Outcome ends the task. Without one it runs again after Wait.
	Outcome record.Outcome
	Wait    time.Duration
	// Parked says that the task waits for something outside. ParkedFor names it, if it
	// is a Blocker that wakes tasks.
	Parked    bool
	ParkedFor string
	// WaitsFor names what a parked task waits for, in a word, for whoever asks.
	WaitsFor string
	// VendorIDs are the vendor's IDs in the result: the task is found by them.
	VendorIDs []string
	Code      string
	Message   string
	// Data is the result, sealed.
	Data []byte
	// HoldKey keeps the producer's key for its whole life, however the task ends:
	// enqueueing again asks for the same, not for a new try.
	HoldKey bool
	// Tell has the end published as that of a dead letter.
	Tell bool
	// Traceparent is the trace that the end is published with, and that a replay links to; ""
	// for none.
	Traceparent string
	// Confirmed says that the vendor did what was asked, though the task goes on.
	Confirmed bool
	// Change, if not empty, is what the attempt changed: the record and the audit log keep
	// it only if the last one they kept changed something else.
	Change string
	// InDoubt, Lookups and Place are kept for the next Claim.
	InDoubt bool
	Lookups int
	Place   string
}

// End writes the result: the record, the key, the audit log, the outbox, and asynq's
// task. It tries until Redis takes it, because what the vendor has done must not be
// forgotten. It gives up with record.ErrStale if another worker took the task over,
// and when the process exits; then whoever finds the claim rules on it.
func (c *Claim) End(r Result) error {
	a := c.endArguments(r)
	c.settle()
	c.server.replay.end(c, a)
	err := c.server.insist(func(ctx context.Context) error {
		return c.server.end(ctx, c, a)
	})
	c.server.forget(c)
	return err
}

// end runs the end script.
func (s *Server) end(ctx context.Context, c *Claim, a arguments) error {
	reply, err := run(ctx, s.general, endStep, c.Queue, a)
	if err == nil && reply.Int(0) == noRecord {
		reply, err = run(ctx, s.general, endStep, c.Queue, a.with(c.description()))
	}
	switch {
	case err != nil:
		return fmt.Errorf("write the result: %w", err)
	case !reply.Bool(0):
		return record.ErrStale
	}
	return nil
}

// noRecord is the end script's answer if Redis has no record of the task.
const noRecord = 2

const (
	// deadKept is about how many dead letters a queue keeps.
	deadKept = 100_000
	// noBlocker stands for a blocker without a name, which wakes no task.
	noBlocker = "-"
)

func (c *Claim) endArguments(r Result) arguments {
	now := time.Now().UTC()
	a := newArguments("id", c.ID, "fence", c.fence)
	a.text("outcome", string(r.Outcome))
	a.flag("counted", r.Counted)
	a.text("code", r.Code)
	a.text("message", r.Message)
	a.flag("confirmed", r.Confirmed)
	if r.InDoubt {
		a.add("doubt", r.Lookups)
		a.text("place", r.Place)
	}
	if r.Attempt != nil {
		a.add("attempt", r.Attempt.Encode())
	}
	a.text("change", r.Change)
	if len(c.msg) > 0 {
		a.add("msg", []byte(c.ended(now, r)))
	}
	if r.Outcome == "" {
		a.add("wait", max(r.Wait, 0).Milliseconds())
		if r.Parked {
			a.add("parked", cmp.Or(r.ParkedFor, noBlocker))
			a.text("waits", strings.Join(strings.Fields(r.WaitsFor), "-"))
		}
		return a
	}
	if len(r.Data) > 0 {
		a.add("data", r.Data)
	}
	a.flag("keep", r.HoldKey || !r.Outcome.FreesKey())
	a.flag("told", r.Tell)
	if r.Tell || c.Notify || r.Outcome.Archived() {
		a.text("trace", r.Traceparent)
	}
	a.text("ids", c.vendorDigests(r.VendorIDs))
	a.flag("plain", !c.sealed())
	a.add("day", now.Format(time.DateOnly))
	if r.Outcome.Archived() {
		a.add("archived", 1)
		a.add("dead", deadKept)
	}
	return a
}

// vendorDigests are the digests of the vendor's IDs. Without Redis' salt there are none:
// the end of a task matters more than that it is found by them.
func (c *Claim) vendorDigests(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), saltTimeout)
	defer cancel()
	salt, err := c.server.store.NewSalt(ctx, c.Queue)
	if err != nil {
		c.server.log.Warn().Err(err).Str("task_id", c.ID).Msg("no salt to be read; the task is not found by the vendor's IDs")
		return ""
	}
	var digests []string
	for _, id := range ids {
		if id != "" && len(digests) < record.MaxSubjects {
			digests = append(digests, record.VendorIDDigest(salt, id))
		}
	}
	return strings.Join(digests, " ")
}

// saltTimeout bounds the reading of the salt, once in some minutes.
const saltTimeout = time.Second

// ended is asynq's message after the result.
func (c *Claim) ended(now time.Time, r Result) message {
	switch {
	case r.Outcome == "" && r.Parked:
		return c.msg.failed(now, "parked: "+r.Message)
	case r.Outcome == "":
		return c.msg.failed(now, "retrying: "+r.Message)
	case r.Outcome.Archived():
		return c.msg.failed(now, string(r.Outcome)+": "+r.Message)
	}
	if c.sealed() {
		return completedCopy(c.ID, c.Type, c.Queue, now, c.once.retention)
	}
	return c.msg.completed(now, c.once.retention)
}
