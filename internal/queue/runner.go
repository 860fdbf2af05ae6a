package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/announce"
	"errand.internal/internal/ledger"
	"errand.internal/internal/seal"
)

func itoa(n int) string { return strconv.Itoa(n) }

// runner is the handler of one queue: it claims the task in the ledger, runs
// it once, writes what became of it, and only then tells asynq.
type runner struct {
	defs           map[string]Definition
	store          *ledger.Store
	ring           *seal.Ring
	owner          string
	morgue         *morgue
	announce       announce.Func
	finished       func(id string)
	lookupPause    time.Duration
	reconfirmAfter time.Duration
	timeout        func(vendor string) time.Duration
	metrics        *Metrics
	log            zerolog.Logger
	// gone ends the tries to write a result: the process is about to exit.
	gone <-chan struct{}
}

// claimSlack is how much longer a claim stands than its attempt may take.
const claimSlack = 5 * time.Second

// busyFor is how soon a task that another holds is looked at again.
const busyFor = 2 * time.Second

// ProcessTask implements asynq.Handler.
//
// asynq cancels ctx when it loses the task's lease. The attempt does not obey:
// breaking off a call makes an unknown out of what was about to be known. It is
// bound by its own time, and its result is written in any case.
func (r *runner) ProcessTask(ctx context.Context, t *asynq.Task) error {
	id, _ := asynq.GetTaskID(ctx)
	ctx = context.WithoutCancel(ctx)
	def, known := r.defs[t.Type()]
	expires, expiresErr := readExpires(t.Headers())
	policy := def.Base.withDefaults()

	var payload Payload
	var decodeErr error
	if known {
		if payload, decodeErr = r.decode(def, id, t.Payload()); decodeErr == nil {
			policy = payload.Defaults().withDefaults()
		}
	}
	limit := r.timeout(def.Vendor)
	longest := limit
	if def.Find != nil {
		longest *= 2 // a lookup, and then the call
	}
	claim := ledger.Claim{
		ID: id, Type: t.Type(), Owner: r.owner, For: longest + claimSlack, Repeatable: policy.Repeatable, Expires: expires, Intent: policy.Intent,
		Findable: def.Find != nil,
	}
	grant, err := r.store.Begin(ctx, claim)
	if err == nil && grant.Verdict == ledger.Busy && grant.Owner != "" && r.morgue.dead(ctx, grant.Owner) {
		claim.DeadOwner = grant.Owner
		grant, err = r.store.Begin(ctx, claim)
	}
	if err != nil {
		r.log.Error().Err(err).Str("task_id", id).Msg("the ledger does not answer; the task goes back")
		return &againError{after: time.Second, text: "the ledger does not answer"}
	}
	run := &attempt{runner: r, id: id, taskType: t.Type(), headers: t.Headers(), policy: policy, grant: grant, expires: expires, begun: time.Now()}
	switch grant.Verdict {
	case ledger.AlreadyEnded:
		return answerAsynq(verdict{state: ledger.Ended, outcome: grant.Outcome, message: grant.Message})
	case ledger.Busy:
		return &againError{after: min(grant.Wait, busyFor), text: "another copy of the task, or its counterpart, is being run"}
	case ledger.Early:
		return &againError{after: min(grant.Wait, parkMax), text: "the task is not due yet"}
	case ledger.OutOfTime:
		return run.end(outOfTime(grant.Attempts))
	case ledger.Abandoned:
		return run.end(verdict{
			outcome: ledger.Uncertain, class: string(ledger.Uncertain),
			message: "the worker that was calling the vendor died; the call may have happened",
		})
	case ledger.Crashed:
		return run.end(verdict{
			outcome: ledger.Failed, class: string(ledger.Failed),
			message: "its worker died three times while it ran the task",
		})
	case ledger.Overtaken:
		return run.end(verdict{
			outcome: ledger.Superseded, class: string(ledger.Superseded),
			message: "a closing of the same access was enqueued later",
		})
	case ledger.Lost:
		if known && !policy.Repeatable && !grant.InDoubt {
			return run.end(verdict{
				outcome: ledger.Uncertain, class: string(ledger.Uncertain),
				message: "Redis has lost the task's record; an earlier call may have happened",
			})
		}
		if !grant.Now.Before(expires) && expiresErr == nil {
			return run.end(outOfTime(0))
		}
	}
	switch {
	case !known:
		return run.end(refused("no such task type; is the worker older than the producer?"))
	case expiresErr != nil:
		return run.end(refused(expiresErr.Error()))
	case errors.Is(decodeErr, seal.ErrNoKey): // not the task's fault: a worker with the key can run it
		return run.finish(def, nil, notHere("errand", decodeErr.Error()), false)
	case decodeErr != nil:
		return run.end(refused("the payload is wrong: " + decodeErr.Error()))
	case def.Run == nil:
		return run.finish(def, nil, notHere(def.Vendor, "this worker has no credentials for the vendor"), false)
	}
	if grant.InDoubt {
		result, settled, v := run.look(ctx, def, payload, limit)
		if settled {
			return run.write(v, result)
		}
	}
	result, err, sent := run.call(ctx, def, payload, limit)
	return run.finish(def, result, err, sent)
}

func (r *runner) decode(def Definition, id string, raw []byte) (Payload, error) {
	plain, err := OpenPayload(r.ring, def.Type, id, raw)
	if err != nil {
		return nil, err
	}
	return def.Decode(plain)
}

// notHere parks a task that another worker can run.
func notHere(vendor, why string) error {
	return &clients.Error{Vendor: vendor, Kind: clients.Credentials, NotSent: true, Message: why}
}

func refused(message string) verdict {
	return verdict{outcome: ledger.Invalid, class: string(ledger.Invalid), message: message}
}

func outOfTime(attempts int) verdict {
	if attempts == 0 {
		return verdict{outcome: ledger.Expired, class: string(ledger.Expired), message: "its time was up before it could run"}
	}
	return verdict{outcome: ledger.Failed, class: string(ledger.Failed), message: fmt.Sprintf("the time budget is spent after %d attempts", attempts)}
}

// attempt is one claimed run of a task.
type attempt struct {
	*runner
	id, taskType string
	headers      map[string]string
	policy       Defaults
	grant        ledger.Grant
	expires      time.Time
	begun        time.Time
	called       bool
}

// call runs the handler once, within its own time.
func (a *attempt) call(ctx context.Context, def Definition, payload Payload, limit time.Duration) (result any, err error, sent bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, watch := clients.WithAttempt(ctx, func() {
		if a.grant.Attempts == 0 {
			a.metrics.observeWait(a.taskType, a.grant.Now.Add(time.Since(a.begun)).Sub(a.grant.Due))
		}
	})
	log := a.log.With().Str("task_id", a.id).Str("type", a.taskType).Logger()
	ctx = WithTaskID(log.WithContext(ctx), a.id)
	a.called = true
	defer func() {
		if value := recover(); value != nil {
			stack := debug.Stack()
			log.Error().Str("stack", string(stack)).Str("panic", fmt.Sprintf("%T", value)).Msg("the handler panicked")
			result, err, sent = nil, &panicError{value: value, stack: stack}, watch.Sent()
		}
	}()
	result, err = def.Run(ctx, payload)
	return result, err, watch.Sent()
}

// finish decides what became of the call, writes it, and tells asynq.
func (a *attempt) finish(def Definition, result any, err error, sent bool) error {
	v := decide(a.situation(sent), err)
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
		switch {
		case v.outcome == "":
			v.inDoubt, v.lookups = true, a.grant.Lookups
		default: // it cannot be found out
			v.outcome, v.class = ledger.Uncertain, string(ledger.Uncertain)
			v.message = "it may have happened, and could not be looked up: " + v.message
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

// end writes an end that no call has brought about.
func (a *attempt) end(v verdict) error {
	v.state = ledger.Ended
	return a.write(v, nil)
}

func (a *attempt) write(v verdict, result any) error {
	took := time.Since(a.begun)
	r := ledger.Result{
		Counted: v.counted && a.called, State: v.state, Wait: v.wait, ParkedFor: v.parkedFor, Outcome: v.outcome, Confirmed: v.confirmed, InDoubt: v.inDoubt, Lookups: v.lookups,
		Code: v.code, Message: v.message, Keep: a.policy.Keep,
	}
	if a.called && !v.untried {
		r.Attempt = &ledger.Attempt{At: a.grant.Now, Took: took, Class: v.class, Status: v.status, Code: v.code, Message: v.message}
	}
	if v.outcome == ledger.Done || v.outcome == ledger.Declined {
		data, err := encodeResult(result)
		if err != nil {
			// The vendor did it; that stays true without the data.
			a.log.Error().Err(err).Str("task_id", a.id).Msg("the result is lost")
		} else if data != nil {
			r.Data = a.ring.Seal(seal.Result, aad(a.taskType, a.id), data)
		}
	}
	if err := a.insist(a.id, a.grant, r); err != nil {
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
				"type": a.metricType(), "outcome": string(v.outcome), "message": v.message, "scheduled": strconv.FormatBool(a.headers[headerTicked] == "1"),
			}})
		}
		if a.headers[headerNotify] == "1" && a.finished != nil {
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

// metricType keeps a made-up type name out of the labels.
func (a *attempt) metricType() string {
	if _, known := a.defs[a.taskType]; known {
		return a.taskType
	}
	return "unknown"
}
