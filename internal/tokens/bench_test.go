package tokens

import (
	"testing"
	"time"

	"errand.internal/internal/redistest"
)

func BenchmarkFreshGet(b *testing.B) {
	srv := redistest.New(b)
	hook := &counting{}
	srv.Client().AddHook(hook)
	s := newSource(b, srv.Client(), testProfile(b, &vendor{life: time.Hour}))
	mustGet(b, s)
	asked := hook.commands.Load()
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(hook.commands.Load()-asked), "round-trips")
}

func BenchmarkFreshGetParallel(b *testing.B) {
	srv := redistest.New(b)
	s := newSource(b, srv.Client(), testProfile(b, &vendor{life: time.Hour}))
	mustGet(b, s)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = s.Get(ctx)
		}
	})
}

// The hot path neither allocates nor asks Redis.
func TestHotPathIsFree(t *testing.T) {
	// Not parallel: AllocsPerRun counts the allocations of all goroutines.
	srv := redistest.New(t)
	hook := &counting{}
	srv.Client().AddHook(hook)
	s := newSource(t, srv.Client(), testProfile(t, &vendor{life: time.Hour}))
	mustGet(t, s)
	ctx := t.Context()
	asked := hook.commands.Load()
	if n := testing.AllocsPerRun(1000, func() { _, _ = s.Get(ctx) }); n != 0 {
		t.Errorf("a fresh Get allocates %v times", n)
	}
	if n := hook.commands.Load() - asked; n != 0 {
		t.Errorf("the hot path asked Redis %d times", n)
	}
}
