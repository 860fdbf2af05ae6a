package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/clients"
	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// attempt is one claimed run of a task.
type attempt struct {
	*worker
	claim      *broker.Claim
	definition Definition
	known      bool // the task type
	policy     broker.Policy
	began      time.Time
	called     bool
	latest     *clients.Attempt // of the calls
	span       trace.Span       // records nothing where there is no trace
}

// event is the attempt as conclude sees it.
func (a *attempt) event(err error) event {
	return event{
		policy:         a.policy,
		attempts:       a.claim.Attempts,
		calledBefore:   a.claim.Called,
		left:           a.claim.Expires.Sub(a.claim.Now()),
		err:            err,
		inDoubt:        a.claim.InDoubt,
		lookups:        a.claim.Lookups,
		reconcilable:   a.definition.Reconcile != nil,
		lookupPause:    a.lookupPause + a.timeout(a.definition.Vendor), // longer than the call could still take
		reconfirm:      a.claim.Reconfirm,
		reconfirmAfter: a.reconfirmAfter,
		random:         broker.Jitter(),
	}
}

// answer is what came of a handler. sent reports whether a request may have left.
type answer struct {
	result any
	sent   bool
	err    error
}

// handler is what an attempt calls: the task's own, or its lookup.
type handler func(ctx context.Context, p Payload) (any, error)

// call runs the handler once and within its own time. It reports false if the attempt has
// ended without it: it has ignored the end of its time.
func (a *attempt) call(ctx context.Context, payload Payload, do handler, lookup bool) (answer, bool) {
	limit := a.timeout(a.definition.Vendor)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, watch := a.watch(ctx)
	ctx = context.WithValue(WithTaskID(ctx, a.claim.ID), triesKey{}, a.claim.Attempts)
	a.called = true
	var over atomic.Bool // whoever sets it goes on with the attempt
	hang := time.AfterFunc(limit+hangGrace, func() {
		if over.CompareAndSwap(false, true) {
			a.giveUp(lookup)
		}
	})
	result, err := a.run(ctx, payload, do)
	hang.Stop() // not where the handler has ended its goroutine: that is given up, too
	return answer{result: result, sent: watch.Sent(), err: err}, over.CompareAndSwap(false, true)
}

// run calls the handler, and makes an error of its panic.
func (a *attempt) run(ctx context.Context, payload Payload, do handler) (result any, err error) {
	defer func() {
		if value := recover(); value != nil {
			a.log.Error().
				Str("task_id", a.claim.ID).
				Str("type", a.claim.Type).
				Str("stack", string(debug.Stack())).
				Str("panic", fmt.Sprintf("%T", value)).
				Msg("the handler panicked")
			result, err = nil, &panicError{value: value}
		}
	}()
	return do(ctx, payload)
}

// giveUp ends the attempt of a handler that ignores the end of its time, and gives its slot
// to the next task. The handler may still send whatever it has not sent yet, but for a call
// that must not be repeated and has not started.
func (a *attempt) giveUp(lookup bool) {
	defer a.claim.RecoverPanic()
	defer a.claim.FreeSlot()
	a.reportHang()
	hung := &hangError{sent: a.claim.AtLeastOnce || !a.claim.Forbid()}
	a.metrics.countUnlisted(hung)
	e := a.event(hung)
	e.called, e.lookup, e.sent = true, lookup, hung.sent && !lookup
	a.settle(conclude(e), nil)
	a.span.End()
}

// watch has the calls of the handler report to the attempt. Unless the task runs at
// least once, its first call is recorded before it leaves.
func (a *attempt) watch(ctx context.Context) (context.Context, *clients.Attempt) {
	ctx, watch := clients.WithAttempt(ctx, func() {
		if !a.claim.Called {
			a.metrics.observeWait(a.claim.Type, a.claim.Now().Sub(a.claim.Due))
			if a.policy.Delivery > 0 {
				a.metrics.fresh.sent(a.claim.Now().Sub(a.claim.Due), a.claim.Expires.Sub(a.claim.Due))
			}
		}
	})
	watch.Task = a.claim.ID
	watch.Deadline = a.began.Add(a.claim.Expires.Sub(a.claim.Now()))
	watch.Underway = a.called
	watch.Retry = a.claim.Called
	watch.First = a.began.Add(a.claim.Due.Sub(a.claim.Now())) // not before it was due
	watch.SetPlace(a.claim.Place)
	a.latest = watch
	if !a.claim.AtLeastOnce {
		watch.Start = a.claim.Start
	}
	return ctx, watch
}

// reportHang logs where every goroutine is, at most once a minute.
func (a *attempt) reportHang() {
	a.metrics.hung.Inc()
	line := a.log.Error().Str("task_id", a.claim.ID).Str("type", a.claim.Type)
	now := time.Now().Unix()
	if last := a.stacksLogged.Load(); now-last >= 60 && a.stacksLogged.CompareAndSwap(last, now) {
		stacks := make([]byte, 1<<20)
		line = line.Str("goroutines", string(stacks[:runtime.Stack(stacks, true)]))
	}
	line.Msg("the handler ignores the end of its time; its slot is freed without it")
}

// settle writes the decision, and logs and counts it.
func (a *attempt) settle(d decision, result any) {
	took := time.Since(a.began)
	r := broker.Result{
		Counted:   d.counted && a.called,
		Outcome:   d.outcome,
		Wait:      d.wait,
		Parked:    d.state == record.Parked,
		ParkedFor: d.blockedBy,
		WaitsFor:  d.blockedBy,
		Code:      d.code,
		Message:   d.message,
		HoldKey:   a.claim.Scheduled,
		Tell:      a.tellsDead(d),
		Confirmed: d.confirmed,
		InDoubt:   d.inDoubt,
		Lookups:   d.lookups,
	}
	if d.inDoubt && a.latest != nil {
		r.Place = a.latest.Place()
	}
	if a.called && !d.untried {
		r.Attempt = &record.Attempt{
			At:      a.claim.Now().Add(-took),
			Took:    took,
			Class:   d.class,
			Status:  d.status,
			Code:    d.code,
			Message: d.message,
		}
	}
	if d.state == record.Parked && r.Attempt != nil {
		r.Change = fmt.Sprintf("%s %d %s", d.class, d.status, d.code)
	}
	if d.outcome != "" {
		r.Data = a.seal(result)
		r.Traceparent = a.traceparent()
		if identified, ok := result.(interface{ VendorIDs() []string }); ok {
			r.VendorIDs = identified.VendorIDs()
		}
	}
	err := a.claim.End(r)
	a.traceEnd(d)
	if err == nil {
		a.report(d, took)
		return
	}
	log := a.log.With().Str("task_id", a.claim.ID).Str("type", a.claim.Type).Str("class", d.class).Logger()
	if errors.Is(err, record.ErrStale) {
		log.Warn().Msg("another worker took the task over while it ran; its result counts")
	} else {
		log.Error().Err(err).Msg("result not written")
	}
}

// seal returns the result as the record keeps it; nil if there is none.
func (a *attempt) seal(result any) []byte {
	data, err := encodeResult(result)
	if err != nil {
		// The vendor did it; that stays true without the data.
		a.log.Error().Err(err).Str("task_id", a.claim.ID).Msg("the result is lost")
		return nil
	}
	if data == nil {
		return nil
	}
	return broker.SealResult(a.ring, a.claim.Type, a.claim.ID, data)
}

// report logs and counts the attempt: one line each.
func (a *attempt) report(d decision, took time.Duration) {
	taskType := a.metricType()
	if d.state == record.Parked {
		a.metrics.parked.WithLabelValues(taskType, cmp.Or(d.blockedBy, noBlocker)).Inc()
	}
	if !d.untried {
		a.metrics.attempts.WithLabelValues(taskType, d.class).Inc()
	}
	line := a.level(d).
		Str("task_id", a.claim.ID).
		Str("type", a.claim.Type).
		Int("attempt", a.claim.Attempts+1).
		Str("class", d.class).
		Str("state", string(d.state)).
		Dur("took_ms", took)
	if d.outcome != "" {
		a.metrics.finished.WithLabelValues(taskType, string(d.outcome)).Inc()
		if d.outcome == record.Expired && a.policy.Delivery > 0 {
			a.metrics.fresh.missed()
		}
		line = line.Str("outcome", string(d.outcome))
		a.publish(d)
	} else {
		line = line.Dur("again_in_ms", d.wait)
	}
	if d.code != "" {
		line = line.Str("code", d.code)
	}
	if d.status != 0 {
		line = line.Int("status", d.status)
	}
	if traced := a.span.SpanContext(); traced.IsValid() {
		line = line.Stringer("trace_id", traced.TraceID())
	}
	line.Msg(d.message)
}

func (a *attempt) level(d decision) *zerolog.Event {
	switch {
	case d.outcome.Archived():
		return a.log.Error()
	case d.outcome != "":
		return a.log.Info()
	}
	return a.log.Warn()
}

// publish tells of the end whoever should hear of it.
func (a *attempt) publish(d decision) {
	if d.outcome.Archived() {
		a.alert(alert.Alert{
			Kind:    alert.TaskDead,
			Subject: a.claim.ID,
			Data: map[string]string{
				"type":      a.metricType(),
				"outcome":   string(d.outcome),
				"message":   d.message,
				"scheduled": strconv.FormatBool(a.claim.Scheduled),
			},
		})
	}
	if d.outcome.Archived() && a.claim.Audited {
		a.alert(alert.Alert{
			Kind:    alert.TaskUnconfirmed,
			Subject: a.claim.ID,
			Data: map[string]string{
				"age":     a.claim.Now().Sub(a.claim.Due).Round(time.Second).String(),
				"outcome": string(d.outcome),
			},
		})
	}
	if a.finished != nil && (a.claim.Notify || a.tellsDead(d)) {
		a.finished(a.claim.ID)
	}
}

// tellsDead reports whether the end is published as that of a dead letter.
func (a *attempt) tellsDead(d decision) bool {
	return a.finished != nil && d.outcome.Archived() && !a.claim.Scheduled
}

// metricType keeps a made-up type name out of the labels.
func (a *attempt) metricType() string {
	if a.known {
		return a.claim.Type
	}
	return unknownType
}

// unknownType labels the tasks of types that this worker does not know.
const unknownType = "unknown"
