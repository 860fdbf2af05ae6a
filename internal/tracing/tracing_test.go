package tracing_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/tracing"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceparents(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, given, want string }{
		{"sampled", parent, parent},
		{"not sampled", parent[:53] + "00", parent[:53] + "00"},
		{"a later version, with more", "01" + parent[2:] + "-more", parent},
		{"a later version, with very much more", "01" + parent[2:] + "-" + strings.Repeat("x", 1<<20), parent},
		{"none", "", ""},
		{"no trace", "00-" + strings.Repeat("0", 32) + parent[35:], ""},
		{"no span", parent[:36] + strings.Repeat("0", 16) + "-01", ""},
		{"upper case", strings.ToUpper(parent), ""},
		{"the forbidden version", "ff" + parent[2:], ""},
		{"more than the version has", parent + "-more", ""},
		{"cut off", parent[:54], ""},
		{"two", parent + "," + parent, ""},
		{"no traceparent at all", "canary\r\nX: y", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := tracing.With(t.Context(), tc.given)
			if got := tracing.Parent(ctx); got != tc.want || tracing.Active(ctx) != (tc.want != "") {
				t.Errorf("%q was read as %q, want %q", tc.given, got, tc.want)
			}
			if got := tracing.TraceID(ctx); tc.want == "" && got != "" || tc.want != "" && got != tc.want[3:35] {
				t.Errorf("the trace of %q is %q", tc.given, got)
			}
		})
	}
}

// A trace comes without what else a caller's context may have: a tracestate may hold
// anything.
func TestOnlyTheTraceparentGoesAlong(t *testing.T) {
	t.Parallel()
	state, err := trace.ParseTraceState("vendor=canary")
	if err != nil {
		t.Fatal(err)
	}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.SpanContextFromContext(tracing.With(t.Context(), parent)).
		WithTraceState(state))
	if got := tracing.Parent(ctx); got != parent {
		t.Errorf("got %q, want %q", got, parent)
	}
}

// Where there is no trace, the questions about it allocate nothing.
func TestNoTraceCostsNothing(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(context.WithValue(t.Context(), key{}, 1), key{}, 2)
	allocs := testing.AllocsPerRun(1000, func() {
		if tracing.With(ctx, "") != ctx || tracing.Active(ctx) || tracing.Parent(ctx) != "" || tracing.TraceID(ctx) != "" {
			t.Fatal("there is a trace")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

func BenchmarkNoTrace(b *testing.B) {
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if ctx := tracing.With(ctx, ""); tracing.Active(ctx) || tracing.Parent(ctx) != "" {
			b.Fatal("there is a trace")
		}
	}
}

func BenchmarkTrace(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if ctx := tracing.With(b.Context(), parent); tracing.Parent(ctx) != parent {
			b.Fatal("the trace is lost")
		}
	}
}

func FuzzWith(f *testing.F) {
	f.Add(parent)
	f.Add("01" + parent[2:] + "-more")
	f.Add("00--")
	f.Fuzz(func(t *testing.T, text string) {
		got := tracing.Parent(tracing.With(t.Context(), text))
		if got == "" {
			return
		}
		if len(got) != len(parent) || tracing.Parent(tracing.With(t.Context(), got)) != got {
			t.Errorf("%q was read as %q", text, got)
		}
	})
}
