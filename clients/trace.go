package clients

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/tracing"
)

// traceCall starts the span of a call in the trace of ctx, and returns the request with
// the header that carries it on. Without a trace it returns what it was given.
//
// The span names the host and the operation, and no URL: paths have the IDs of persons,
// and queries have tokens.
func (c *Caller) traceCall(
	ctx context.Context,
	op string,
	req *http.Request,
) (context.Context, *http.Request, trace.Span) {
	if !tracing.Active(ctx) {
		return ctx, req, trace.SpanFromContext(ctx)
	}
	ctx, span := tracing.Start(
		ctx,
		req.Method+" "+op,
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(requestAttributes(req)...),
		trace.WithAttributes(
			tracing.Vendor.String(c.vendor),
			tracing.Operation.String(op),
		),
	)
	traced := *req
	traced.Header = req.Header.Clone()
	traced.Header.Set(tracing.Header, tracing.Parent(ctx))
	return ctx, &traced, span
}

// requestAttributes describes a request by the conventions for HTTP.
func requestAttributes(req *http.Request) []attribute.KeyValue {
	port, err := strconv.Atoi(req.URL.Port())
	switch {
	case err == nil:
	case req.URL.Scheme == "http":
		port = 80
	default:
		port = 443
	}
	return []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(req.Method),
		semconv.URLScheme(req.URL.Scheme),
		semconv.ServerAddress(req.URL.Hostname()),
		semconv.ServerPort(port),
	}
}

// traceStatus notes the status of an answer.
func traceStatus(span trace.Span, status int) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if status >= http.StatusBadRequest {
		tracing.Fail(span, strconv.Itoa(status))
	}
}

// traceFailure notes a call without an answer.
func traceFailure(span trace.Span, err *Error) {
	if span.IsRecording() {
		tracing.Fail(span, err.Kind.String())
	}
}
