package apptest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"errand.internal/internal/testwait"
)

// Collector is a collector of OpenTelemetry: it takes spans by OTLP over HTTP.
type Collector struct {
	// URL is its OTEL_EXPORTER_OTLP_ENDPOINT.
	URL string

	t     testing.TB
	mu    sync.Mutex
	spans []*tracepb.Span
	raw   []byte
}

// NewCollector starts a collector.
func NewCollector(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{t: t}
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	c.URL = web.URL
	return c
}

// Trace adds the settings that send spans to the collector.
func (f *Fixture) Trace(c *Collector) {
	f.Environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = c.URL
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &sent)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		c.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw...)
	for _, resource := range sent.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// Raw is all that the collector was sent.
func (c *Collector) Raw() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.raw)
}

// Spans are those of a trace that have arrived, by their start.
func (c *Collector) Spans(trace []byte) []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*tracepb.Span
	for _, s := range c.spans {
		if trace == nil || string(s.GetTraceId()) == string(trace) {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b *tracepb.Span) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})
	return found
}

// Wait waits for the span of a trace with a name, and returns it.
func (c *Collector) Wait(trace []byte, name string) *tracepb.Span {
	c.t.Helper()
	var found *tracepb.Span
	testwait.Eventually(c.t, 30*time.Second, "the span "+name+" arrives", func() bool {
		for _, s := range c.Spans(trace) {
			if s.GetName() == name {
				found = s
			}
		}
		return found != nil
	})
	return found
}

// Tree are the names of the spans of a trace below a span, each with an indentation of its
// depth, in the order of their start.
func (c *Collector) Tree(trace, parent []byte) string {
	var tree strings.Builder
	c.tree(&tree, c.Spans(trace), parent, "")
	return tree.String()
}

func (c *Collector) tree(into *strings.Builder, spans []*tracepb.Span, parent []byte, indent string) {
	for _, s := range spans {
		if string(s.GetParentSpanId()) == string(parent) {
			into.WriteString(indent + s.GetName() + "\n")
			c.tree(into, spans, s.GetSpanId(), indent+"  ")
		}
	}
}

// Attribute is the text of a span's attribute; "" if it has none.
func Attribute(s *tracepb.Span, key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() != key {
			continue
		}
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			return v.StringValue
		default:
			return strings.TrimSpace(a.GetValue().String())
		}
	}
	return ""
}
