package httpapi

import (
	"context"
	"net/http"
	"strconv"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/tracing"
)

// traceHeader is the header of a trace as net/http keeps it.
var traceHeader = http.CanonicalHeaderKey(tracing.Header)

// trace returns the context of a call with the trace of its client, and with a span if
// the worker records any. The span has the route and not the path, in which a client may
// have written anything.
func (a *api) trace(ctx context.Context, c call, r *http.Request) (context.Context, trace.Span) {
	if values := r.Header[traceHeader]; len(values) == 1 {
		ctx = tracing.With(ctx, values[0])
	}
	if a.tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	return a.tracer.Start(
		ctx,
		c.method+" "+c.path,
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			semconv.HTTPRequestMethodKey.String(c.method),
			semconv.HTTPRoute(c.path),
		),
	)
}

// endTrace ends the span of a call.
func endTrace(span trace.Span, status int) {
	if span.IsRecording() {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if status >= http.StatusInternalServerError {
			tracing.Fail(span, strconv.Itoa(status))
		}
	}
	span.End()
}
