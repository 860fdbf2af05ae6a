package worker

import (
	"context"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/record"
	"errand.internal/internal/tracing"
)

// trace continues the trace of the task's producer, or begins one. It returns a context
// for the attempt's calls. Every attempt is a child of what enqueued the task, so that
// they stand side by side; a link says so where a parent is not enough. Another leads from
// a replay to the dead letter.
func (a *attempt) trace(ctx context.Context) context.Context {
	ctx = tracing.With(ctx, a.claim.Traceparent())
	if a.tracer == nil {
		a.span = trace.SpanFromContext(ctx)
		return ctx
	}
	if !a.claim.Returned() {
		a.traceWait(ctx)
	}
	const name = "attempt"
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithTimestamp(a.began),
		trace.WithAttributes(tracing.Queue(name, a.claim.Queue, semconv.MessagingOperationTypeProcess)...),
		trace.WithAttributes(
			semconv.MessagingMessageID(a.claim.ID),
			tracing.TaskType.String(a.metricType()),
			tracing.Attempt.Int(a.claim.Attempts+1),
		),
	}
	replayed := tracing.With(context.Background(), a.claim.ReplayedTrace())
	for _, from := range []context.Context{ctx, replayed} {
		if tracing.Active(from) {
			opts = append(opts, trace.WithLinks(trace.LinkFromContext(from)))
		}
	}
	ctx, a.span = a.tracer.Start(ctx, name+" "+a.claim.Queue, opts...)
	return ctx
}

// traceWait records how long the task waited for its first attempt since it was due.
func (a *attempt) traceWait(ctx context.Context) {
	if !tracing.Active(ctx) {
		return // a trace that the attempt begins has nothing before it
	}
	const name = "wait"
	due := a.began.Add(a.claim.Due.Sub(a.claim.Now())) // by the local clock
	if due.After(a.began) {
		due = a.began
	}
	_, span := a.tracer.Start(
		ctx,
		name+" "+a.claim.Queue,
		trace.WithTimestamp(due),
		trace.WithAttributes(tracing.Queue(name, a.claim.Queue)...),
		trace.WithAttributes(semconv.MessagingMessageID(a.claim.ID)),
	)
	span.End(trace.WithTimestamp(a.began))
}

// traceEnd notes in the span how the attempt ended.
func (a *attempt) traceEnd(d decision) {
	if !a.span.IsRecording() {
		return
	}
	a.span.SetAttributes(tracing.Class.String(d.class))
	if d.outcome != "" {
		a.span.SetAttributes(tracing.Outcome.String(string(d.outcome)))
	}
	switch {
	case d.outcome == record.Done, d.outcome == record.Declined, d.outcome == record.Superseded, d.confirmed:
	default:
		tracing.Fail(a.span, d.class)
	}
}

// traceparent is the trace that the end of the task is published with.
func (a *attempt) traceparent() string {
	return tracing.Parent(trace.ContextWithSpan(context.Background(), a.span))
}
