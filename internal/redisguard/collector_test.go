package redisguard

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
)

// The metric tells by how much the clocks differ, and which way: of a cluster the worst. A
// clock that is right is at 0, so that an alert has a sample from the start.
func TestAWrongClockIsAMetric(t *testing.T) {
	t.Parallel()
	single := open(t, redistest.New(t).URL())
	cluster := open(t, redistest.NewCluster(t, 3).URL())
	for name, rdb := range map[string]redis.UniversalClient{"single": single, "cluster": cluster} {
		for _, tc := range []struct {
			off       time.Duration
			low, high float64
		}{
			{0, 0, 0},
			{-20 * time.Minute, 1190, 1200.1},
			{time.Hour, -3600.1, -3590},
		} {
			t.Run(name+" "+tc.off.String(), func(t *testing.T) {
				t.Parallel()
				now := func() time.Time { return time.Now().Add(tc.off) }
				if skew := testutil.ToFloat64(NewClockCollector(rdb, now)); skew < tc.low || skew > tc.high {
					t.Errorf("%v s, want %v to %v", skew, tc.low, tc.high)
				}
			})
		}
	}
}

// A Redis that does not answer says nothing about its clock: no sample, and no alert.
func TestTheClockOfASilentRedisIsUnknown(t *testing.T) {
	t.Parallel()
	gone := redistest.New(t)
	rdb := open(t, gone.URL())
	gone.Stop()
	if n := testutil.CollectAndCount(NewClockCollector(rdb, time.Now)); n != 0 {
		t.Errorf("%d samples", n)
	}
}
