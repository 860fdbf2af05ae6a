package admission

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
)

// surgeFleet are two processes that send for one account, on a clock that the test drives.
type surgeFleet struct {
	*world
	t    *testing.T
	all  []*Surge
	told []string
}

func newSurgeFleet(t *testing.T, rdb redis.UniversalClient) *surgeFleet {
	t.Helper()
	f := &surgeFleet{world: newWorld(), t: t}
	for range 2 {
		s := NewSurge(rdb, seal.NewSalt(rdb), "shop", []string{"ana"}, WithClock(f.world), WithOnSurge(func(c SurgeChange) {
			f.told = append(f.told, fmt.Sprintf("%s %d of %d", c.Account, c.Count, c.Usual))
		}))
		t.Cleanup(s.Close)
		f.all = append(f.all, s)
	}
	return f
}

// hour sends n, by the processes in turn, and lets the hour pass. It returns what was told.
func (f *surgeFleet) hour(n int) []string {
	f.t.Helper()
	f.told = nil
	for i := range n {
		s := f.all[i%len(f.all)]
		s.mu.Lock()
		s.count++
		s.mu.Unlock()
		s.tell()
	}
	_ = f.Sleep(f.t.Context(), time.Hour)
	return f.told
}

func (f *surgeFleet) want(n int, told ...string) {
	f.t.Helper()
	if got := f.hour(n); fmt.Sprint(got) != fmt.Sprint(told) {
		f.t.Errorf("an hour of %d told %q, want %q", n, got, told)
	}
}

// An hour far above the same hour of the days before is told once in the fleet. What was
// told yesterday does not hide what comes today, and a busy Monday is none if the last was
// as busy. The hash stays small, and names nobody.
func TestAnHourFarAboveTheUsualIsTold(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	f := newSurgeFleet(t, rdb)
	day := func(night, noon int, told ...string) {
		t.Helper()
		for h := range 24 {
			switch h {
			case 3:
				f.want(night)
			case 12:
				f.want(noon, told...)
			default:
				f.want(2)
			}
		}
	}
	day(0, 400) // nothing to compare with
	day(0, 40)
	day(0, 40)
	for range 5 {
		day(0, 20)
	}
	day(surgeLeast-1, 59) // the busiest of the seven is 40, and the second too
	day(0, 130, "shop 120 of 40")
	day(0, 119) // yesterday's surge is not the usual, and two days ago there was 59
	day(0, 180) // two such days are usual
	for range 6 {
		day(0, 20)
	}
	day(0, 130) // a week ago there was 180
	day(0, 130, "shop 60 of 20")
	keys := rdb.Keys(t.Context(), "limit:*").Val()
	if len(keys) != 1 || rdb.HLen(t.Context(), keys[0]).Val() > 171 {
		t.Fatalf("keys %q with %d fields", keys, rdb.HLen(t.Context(), keys[0]).Val())
	}
	if ttl := rdb.TTL(t.Context(), keys[0]).Val(); ttl < 7*24*time.Hour || ttl > 8*24*time.Hour {
		t.Errorf("it is kept for %s", ttl)
	}
}

// A night in which nothing is sent otherwise becomes a surge with its fiftieth.
func TestAQuietHourThatIsNotQuiet(t *testing.T) {
	t.Parallel()
	f := newSurgeFleet(t, redistest.New(t).Client())
	f.want(1)
	for range 47 {
		f.want(0)
	}
	f.want(surgeLeast - 1)
	f.want(surgeLeast+10, "shop 50 of 0")
}

// Counting costs no round trip of the caller's. The fleet is told once a second, at the
// latest when the process ends; what Redis does not take is told later.
func TestASurgeIsToldInTheBackground(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	rdb := server.Client()
	sent := func() (n int64) {
		for _, key := range rdb.Keys(t.Context(), "limit:*").Val() {
			for field, value := range rdb.HGetAll(t.Context(), key).Val() {
				if field != "since" {
					var count int64
					_, _ = fmt.Sscan(value, &count)
					n += count
				}
			}
		}
		return n
	}
	away := NewSurge(quickClient(t, "127.0.0.1:1"), seal.NewSalt(rdb), "shop", nil)
	for range 10 {
		away.Count()
	}
	eventually(t, "Redis does not take it", func() bool {
		away.mu.Lock()
		defer away.mu.Unlock()
		return away.timer == nil && away.count == 10
	})
	away.rdb = rdb
	away.Count()
	eventually(t, "the fleet is told", func() bool { return sent() == 11 })
	away.Count()
	away.Close()
	if n := sent(); n != 12 {
		t.Errorf("the fleet was told of %d, want 12", n)
	}
	away.Count() // nothing is left behind
}
