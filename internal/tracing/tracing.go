// Package tracing carries the trace of a producer to the requests of its tasks, by the
// W3C Trace Context and the API of OpenTelemetry:
//
//	caller's context, traceparent of HTTP, TRACEPARENT
//	  └─ enqueue ─▶ asynq's message ─▶ wait, attempt ─▶ token, login, vendor call ─▶ traceparent
//
// A context carries the trace, and the provider of its spans with it: nothing here is
// global, and no code below needs a tracer. Without a trace nothing is stored, sent or
// allocated. Package export sends the spans.
//
// A span has no personal datum and no secret: no path, no query, no text of a vendor.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Header is the header that carries a trace, in a request and in a task.
const Header = "traceparent"

// Scope names the instrumentation in a trace.
const Scope = "errand.internal"

// parent is a traceparent as a propagator reads and writes it. Nothing else of a trace
// goes along: a tracestate or a baggage may hold anything.
type parent struct{ text string }

// Get implements propagation.TextMapCarrier.
func (p *parent) Get(name string) string {
	if name == Header {
		return p.text
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (p *parent) Set(name, value string) {
	if name == Header {
		p.text = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (*parent) Keys() []string {
	return []string{Header}
}

// With returns a context with the trace of a traceparent. One that is empty or malformed
// is ignored.
func With(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, &parent{text: traceparent})
}

// Active reports whether a context has a trace.
func Active(ctx context.Context) bool {
	return trace.SpanContextFromContext(ctx).IsValid()
}

// Parent returns the traceparent of a context; "" without a trace.
func Parent(ctx context.Context) string {
	if !Active(ctx) {
		return ""
	}
	var p parent
	propagation.TraceContext{}.Inject(ctx, &p)
	return p.text
}

// TraceID returns the ID of the trace of a context; "" without one.
func TraceID(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	return sc.TraceID().String()
}

// Start starts a span in the trace of a context, by the provider of the span there. Where
// nobody records the trace, as in a worker without an exporter, the trace only passes
// through. Call it only if Active: the options are not free.
func Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(Scope).Start(ctx, name, opts...)
}

// Fail marks a span as failed by a kind of fault, which is a word of a short list.
func Fail(span trace.Span, kind string) {
	span.SetStatus(codes.Error, "")
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
}

// The attributes of Errand's own.
const (
	// TaskType is the type of a task.
	TaskType = attribute.Key("errand.task.type")
	// Attempt is the number of an attempt, from 1.
	Attempt = attribute.Key("errand.task.attempt")
	// Class says how an attempt ended, as the metrics do.
	Class = attribute.Key("errand.task.class")
	// Outcome is the outcome of a task that has ended.
	Outcome = attribute.Key("errand.task.outcome")
	// Duplicate says that the key belonged to an earlier task.
	Duplicate = attribute.Key("errand.task.duplicate")
	// Vendor is the vendor that is called.
	Vendor = attribute.Key("errand.vendor")
	// Operation is the vendor's operation, as the metrics have it.
	Operation = attribute.Key("errand.operation")
)

// Queue are the attributes of what is done to a task of a queue: its name, such as
// "enqueue", and more.
func Queue(name, queue string, more ...attribute.KeyValue) []attribute.KeyValue {
	return append(
		more,
		semconv.MessagingSystemKey.String("errand"),
		semconv.MessagingDestinationName(queue),
		semconv.MessagingOperationName(name),
	)
}
