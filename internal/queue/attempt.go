package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/announce"
	"errand.internal/internal/ledger"
	"errand.internal/internal/seal"
)

// attempt is one claimed run of a task.
type attempt struct {
	*runner
	id, taskType string
	headers      map[string]string
	policy       Defaults
	grant        ledger.Grant
	expires      time.Time
	begun        time.Time
	until        time.Time // the claim surely stands
	called       bool
}

// call runs the handler once, within its own time.
func (a *attempt) call(ctx context.Context, def Definition, payload Payload, limit time.Duration) (result any, err error, sent bool) {
	end := time.Now().Add(limit)
	if a.until.Before(end) { // the reply to the claim was long under way
		end = a.until
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	ctx, watch := clients.WithAttempt(ctx, func() {
		if a.grant.Attempts == 0 {
			a.metrics.observeWait(a.taskType, a.grant.Now.Add(time.Since(a.begun)).Sub(a.grant.Due))
		}
	})
	watch.Task, watch.Deadline, watch.Underway = a.id, a.begun.Add(a.expires.Sub(a.grant.Now)), a.called
	log := a.log.With().Str("task_id", a.id).Str("type", a.taskType).Logger()
	ctx = context.WithValue(WithTaskID(log.WithContext(ctx), a.id), triesKey{}, a.grant.Attempts)
	a.called = true
	type answer struct {
		result any
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				stack := debug.Stack()
				log.Error().Str("stack", string(stack)).Str("panic", fmt.Sprintf("%T", value)).Msg("the handler panicked")
				answered <- answer{err: &panicError{value: value, stack: stack}}
			}
		}()
		result, err := def.Run(ctx, payload)
		answered <- answer{result, err}
	}()
	hung := time.NewTimer(limit + hangGrace)
	defer hung.Stop()
	select {
	case a := <-answered:
		return a.result, a.err, watch.Sent()
	case <-hung.C:
		// It may still send whatever it has not sent yet.
		a.reportHang()
		return nil, &hangError{}, true
	}
}

// reportHang logs where every goroutine stands, at most once a minute.
func (a *attempt) reportHang() {
	a.metrics.hung.Inc()
	line := a.log.Error().Str("task_id", a.id).Str("type", a.taskType)
	now := time.Now().Unix()
	if last := a.dumped.Load(); now-last >= 60 && a.dumped.CompareAndSwap(last, now) {
		stacks := make([]byte, 1<<20)
		line = line.Str("goroutines", string(stacks[:runtime.Stack(stacks, true)]))
	}
	line.Msg("the handler ignores the end of its time; its slot is freed without it")
}

// finish decides what became of the call, writes it, and tells asynq.
func (a *attempt) finish(def Definition, result any, err error, sent bool) error {
	v := decide(a.situation(sent), err)
	if e, ok := clients.AsError(err); ok && e.Unlisted {
		a.metrics.unlisted.WithLabelValues(e.Vendor, e.Op).Inc()
	}
	if v.outcome == ledger.Uncertain && def.Find != nil {
		v = v.lookFor(0, a.pause(def), a.left())
	}
	if v.outcome == ledger.Done && a.grant.Reconfirm {
		v = v.reconfirm(a.reconfirmAfter)
	}
	return a.write(v, result)
}

func (a *attempt) left() time.Duration { return a.expires.Sub(a.grant.Now) - time.Since(a.begun) }

func (a *attempt) situation(sent bool) situation {
	return situation{policy: a.policy, attempts: a.grant.Attempts, left: a.left(), sent: sent, random: jitter()}
}

// pause is how long to wait before the vendor is asked whether a call has
// happened after all: longer than the call could still take.
func (a *attempt) pause(def Definition) time.Duration {
	return a.lookupPause + a.timeout(def.Vendor)
}

// look asks the vendor whether an earlier try has happened. settled is false if
// it has surely not, so that the task may run.
func (a *attempt) look(ctx context.Context, def Definition, payload Payload, limit time.Duration) (result any, settled bool, v verdict) {
	var found bool
	lookup := def
	lookup.Run = func(ctx context.Context, p Payload) (any, error) {
		r, ok, err := def.Find(ctx, p)
		found = ok
		return r, err
	}
	result, err, _ := a.call(ctx, lookup, payload, limit)
	switch {
	case err != nil:
		s := a.situation(false)
		s.policy.Repeatable = true // asking again does no harm
		v = decide(s, err)
		if v.outcome == "" {
			v.inDoubt, v.lookups = true, a.grant.Lookups
		} else {
			v = v.unresolved()
		}
		return nil, true, v
	case found:
		return result, true, decide(a.situation(true), nil)
	case a.grant.Lookups+1 < lookups:
		return nil, true, verdict{class: "not_found"}.lookFor(a.grant.Lookups+1, a.pause(def), a.left())
	}
	return nil, false, v
}

// lookups is how often the vendor must say that a call has not happened.
const lookups = 2

// end writes an end that no call has brought about. A create in doubt keeps its
// key: the next task with it would create a second time.
func (a *attempt) end(v verdict) error {
	v.state = ledger.Ended
	if a.grant.InDoubt && v.outcome.FreesKey() {
		v = v.unresolved()
	}
	return a.write(v, nil)
}

func (a *attempt) write(v verdict, result any) error {
	took := time.Since(a.begun)
	if a.grant.InDoubt && !a.called { // nobody has asked, so the doubt stays
		v.inDoubt, v.lookups = true, a.grant.Lookups
	}
	r := ledger.Result{
		Counted: v.counted && a.called, State: v.state, Wait: v.wait, ParkedFor: v.parkedFor, Outcome: v.outcome, Confirmed: v.confirmed, InDoubt: v.inDoubt, Lookups: v.lookups,
		Code: v.code, Message: v.message, Keep: a.policy.Keep, HoldKey: a.scheduled(), TellDead: a.tellsDead(v),
	}
	if a.called && !v.untried {
		r.Attempt = &ledger.Attempt{At: a.grant.Now, Took: took, Class: v.class, Status: v.status, Code: v.code, Message: v.message}
	}
	if v.outcome != "" && result != nil {
		data, err := encodeResult(result)
		if err != nil {
			// The vendor did it; that stays true without the data.
			a.log.Error().Err(err).Str("task_id", a.id).Msg("the result is lost")
		} else if data != nil {
			r.Data = a.ring.Seal(seal.Result, aad(a.taskType, a.id), data)
		}
	}
	err := a.insist(a.id, a.grant, r)
	if errors.Is(err, ledger.ErrStale) {
		// Another worker has the task now, and asynq knows it by its ID alone: an
		// acknowledgement of ours would take away the other's. A task that is held
		// back comes round, finds what the other wrote, and is lost in no order of
		// the two.
		a.log.Warn().Str("task_id", a.id).Str("type", a.taskType).Str("class", v.class).
			Msg("another worker took the task over while it was being run; its word counts")
		return &againError{after: busyFor, text: "another worker took the task over"}
	}
	if err != nil {
		a.log.Error().Err(err).Str("task_id", a.id).Str("type", a.taskType).Str("class", v.class).Msg("the result was not written")
	} else {
		a.tell(v, took)
	}
	return answerAsynq(v)
}

// insist writes a result until Redis has taken it: what the vendor has done
// must not be forgotten because Redis is away. It gives up when another worker
// took the task over (ledger.ErrStale) and when the process exits; then the
// claim stays, and whoever finds it rules.
func (r *runner) insist(id string, g ledger.Grant, result ledger.Result) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.store.Finish(context.Background(), id, g, result)
		if err == nil || errors.Is(err, ledger.ErrStale) {
			r.recall.ended(id, g, result, err == nil)
			return err
		}
		select {
		case <-time.After(wait):
		case <-r.gone:
			return err
		}
	}
}

// tell logs and counts the attempt: one line each.
func (a *attempt) tell(v verdict, took time.Duration) {
	if v.state == ledger.Parked {
		a.metrics.parked.WithLabelValues(a.metricType(), cmp.Or(v.parkedFor, v.limit)).Inc()
	}
	if !v.untried {
		a.metrics.attempts.WithLabelValues(a.metricType(), v.class).Inc()
	}
	var line *zerolog.Event
	switch {
	case v.outcome.Archived():
		line = a.log.Error()
	case v.outcome != "":
		line = a.log.Info()
	default:
		line = a.log.Warn()
	}
	line = line.Str("task_id", a.id).Str("type", a.taskType).Int("attempt", a.grant.Attempts+1).
		Str("class", v.class).Str("state", string(v.state)).Dur("took", took)
	if v.outcome != "" {
		a.metrics.finished.WithLabelValues(a.metricType(), string(v.outcome)).Inc()
		line = line.Str("outcome", string(v.outcome))
		if v.outcome.Archived() {
			a.announce(announce.Announcement{Kind: announce.TaskDead, Subject: a.id, Data: map[string]string{
				"type": a.metricType(), "outcome": string(v.outcome), "message": v.message, "scheduled": strconv.FormatBool(a.scheduled()),
			}})
		}
		if a.finished != nil && (a.headers[headerNotify] == "1" || a.tellsDead(v)) {
			a.finished(a.id)
		}
	} else {
		line = line.Dur("again_in", v.wait)
	}
	if v.code != "" {
		line = line.Str("code", v.code)
	}
	if v.status != 0 {
		line = line.Int("status", v.status)
	}
	line.Msg(v.message)
}

// tellsDead reports whether somebody hears of the end as that of a dead letter.
func (a *attempt) tellsDead(v verdict) bool {
	return a.finished != nil && v.outcome.Archived() && !a.scheduled()
}

// scheduled reports whether a schedule asked for the task.
func (a *attempt) scheduled() bool { return a.headers[headerTicked] == "1" }

// metricType keeps a made-up type name out of the labels.
func (a *attempt) metricType() string {
	if _, known := a.defs[a.taskType]; known {
		return a.taskType
	}
	return "unknown"
}
