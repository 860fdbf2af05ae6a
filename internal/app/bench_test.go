package app_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/tasks"
)

// BenchmarkIdleLatency is the time from the call of Enqueue to the arrival of
// the vendor's request, one OTP at a time on an otherwise idle worker.
func BenchmarkIdleLatency(b *testing.B) {
	f := newFixture(b)
	w := f.Start(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var took []time.Duration
	for n := 1; b.Loop(); n++ {
		time.Sleep(rand.N(40 * time.Millisecond)) // the gap is part of the workload: it hits every phase of a poll
		start := time.Now()
		ticket, err := tasks.Enqueue(ctx, w.Client, otpFor("bench@example.com"))
		if err != nil {
			b.Fatal(err)
		}
		if err := f.danaconnect.WaitCalls(ctx, danaconnecttest.OpSend, n); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		if _, err := ticket.Wait(ctx); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	at := func(p float64) float64 {
		return float64(took[min(len(took)-1, int(p*float64(len(took))))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(0, "ns/op")
}
