// Package export sends a worker's spans to a collector of OpenTelemetry, by OTLP over
// HTTP. A collector that does not answer costs spans, and nothing else: they are sent in
// the background, and dropped once too many wait.
package export

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/buildinfo"
	"errand.internal/internal/netfault"
	"errand.internal/internal/tracing"
)

const (
	// stopTimeout bounds the sending of the last spans once the worker stops.
	stopTimeout = time.Second
	// warnInterval is how often it is logged that spans are not sent.
	warnInterval = time.Minute
)

// Start returns the tracer of a worker, and what sends its last spans. The tracer is nil
// if nothing says where spans go. instance names the process. It does not wait for the
// collector.
func Start(ctx context.Context, cfg Config, instance string, log zerolog.Logger) (trace.Tracer, func(), error) {
	if !cfg.Enabled() {
		return nil, func() {}, nil
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(cfg.url()),
		otlptracehttp.WithProxy(func(*http.Request) (*url.URL, error) { return nil, nil }), // the environment's are not read
	}
	if headers := cfg.headers(); len(headers) > 0 {
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, nil, err
	}
	// What the environment says of the service counts more.
	described, err := resource.New(
		ctx,
		resource.WithAttributes(
			semconv.ServiceName("errand"),
			semconv.ServiceVersion(buildinfo.Version),
			semconv.ServiceInstanceID(instance),
		),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
	)
	if err != nil {
		log.Warn().Err(err).Msg("OTEL_RESOURCE_ATTRIBUTES cannot be read in full; spans leave with the rest")
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(&quietExporter{SpanExporter: exporter, log: log}),
		sdk.WithResource(described),
	)
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = provider.Shutdown(ctx) // what is not sent by then is lost
	}
	return provider.Tracer(tracing.Scope, trace.WithSchemaURL(semconv.SchemaURL)), stop, nil
}

// quietExporter logs that spans are lost, now and then, in words without the addresses
// and answers that the errors quote. Without it the SDK writes every error to stderr.
type quietExporter struct {
	sdk.SpanExporter
	log zerolog.Logger

	mu     sync.Mutex
	warned time.Time
}

// ExportSpans implements sdk.SpanExporter.
func (q *quietExporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	reason := "the collector refuses them"
	if fault := netfault.Of(err); fault != netfault.Other {
		reason = fault.String()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.warned) >= warnInterval {
		q.warned = now
		q.log.Warn().Str("reason", reason).Int("spans", len(spans)).Msg("spans are not exported; tasks run on without them")
	}
	return nil
}
