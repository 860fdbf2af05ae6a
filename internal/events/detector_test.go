package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"errand.internal/internal/events"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
)

var counterChanges = events.DetectorConfig{
	EventType: "counter.changed",
	KeyPrefix: "errand:{example}:counters:",
}

type subject struct {
	UserID string `json:"userId"`
}

// changed is the data of an event that reports a change.
type changed struct {
	Subject  subject `json:"subject"`
	Previous int     `json:"previous"`
	Current  int     `json:"current"`
	Sequence int64   `json:"sequence"`
}

func readChange(t testing.TB, e events.Event) changed {
	t.Helper()
	var c changed
	if err := json.Unmarshal(e.Data, &c); err != nil || e.Type != counterChanges.EventType {
		t.Fatalf("%s %s: %v", e.Type, e.Data, err)
	}
	return c
}

func newDetector(t testing.TB) (*events.Detector, *recorder, *redistest.Server) {
	t.Helper()
	server, published := redistest.New(t), &recorder{}
	salt := seal.NewSalt(server.Client())
	return events.NewDetector(counterChanges, server.Client(), salt, published.publish), published, server
}

func begin(t testing.TB, d *events.Detector, user string) *events.Reading {
	t.Helper()
	r, err := d.Begin(t.Context(), subject{user})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func recordValue(t testing.TB, r *events.Reading, value int) {
	t.Helper()
	if err := r.Record(t.Context(), value); err != nil {
		t.Fatal(err)
	}
}

func TestDetector(t *testing.T) {
	t.Parallel()
	d, published, server := newDetector(t)
	for _, value := range []int{2, 2, 3, 3, 0, 0} {
		recordValue(t, begin(t, d, "u-canary"), value)
	}
	recordValue(t, begin(t, d, "u-other"), 7) // a baseline
	begin(t, d, "u-canary")                   // a failed read changes nothing
	recordValue(t, begin(t, d, "u-canary"), 0)

	all := published.all()
	if len(all) != 2 {
		t.Fatalf("%d events, want 2: %+v", len(all), all)
	}
	first, second := readChange(t, all[0]), readChange(t, all[1])
	if first.Subject.UserID != "u-canary" || first.Previous != 2 || first.Current != 3 || second.Previous != 3 ||
		second.Current != 0 ||
		second.Sequence != first.Sequence+1 {
		t.Errorf("events %+v, %+v", first, second)
	}
	keys := server.Client().Keys(t.Context(), "*").Val()
	for _, key := range keys {
		if strings.Contains(key, "canary") ||
			strings.Contains(fmt.Sprint(server.Client().HGetAll(t.Context(), key).Val()), "canary") {
			t.Errorf("%s names the person", key)
		}
		if strings.Contains(key, "counters") && server.Client().TTL(t.Context(), key).Val() <= 0 {
			t.Errorf("%s has no TTL", key)
		}
	}
}

func TestStaleReadingChangesNothing(t *testing.T) {
	t.Parallel()
	d, published, _ := newDetector(t)
	recordValue(t, begin(t, d, "u"), 1)
	slow := begin(t, d, "u") // reads 1 and returns late
	recordValue(t, begin(t, d, "u"), 2)
	recordValue(t, slow, 1)
	recordValue(t, begin(t, d, "u"), 2)
	if all := published.all(); len(all) != 1 || readChange(t, all[0]).Current != 2 {
		t.Errorf("events %+v, want one", all)
	}
}

// If an event cannot be enqueued, the next reading enqueues it, with the same ID
// and in order.
func TestChangeSurvivesAFailedPublish(t *testing.T) {
	t.Parallel()
	d, published, _ := newDetector(t)
	recordValue(t, begin(t, d, "u"), 1)
	var ids []string
	published.fail = func(e events.Event) error { ids = append(ids, e.ID); return errors.New("the queue is down") }
	for _, value := range []int{2, 3} {
		if err := begin(t, d, "u").Record(t.Context(), value); err == nil {
			t.Error("Record hides that the event is not enqueued")
		}
	}
	published.fail = nil
	recordValue(t, begin(t, d, "u"), 3)
	recordValue(t, begin(t, d, "u"), 3)
	all := published.all()
	if len(all) != 2 || all[0].ID != ids[0] || readChange(t, all[0]).Current != 2 ||
		readChange(t, all[1]).Current != 3 ||
		readChange(t, all[1]).Sequence != readChange(t, all[0]).Sequence+1 {
		t.Errorf("events %+v, first tried with %v", all, ids)
	}
	if published.duplicates != 0 {
		t.Errorf("%d events were published again after their changes were removed", published.duplicates)
	}
}

// If Redis loses its data, the sequence still rises, so that no receiver drops a
// new event as stale, and readings in progress do no harm.
func TestSequenceRisesAfterDataLoss(t *testing.T) {
	t.Parallel()
	d, published, server := newDetector(t)
	recordValue(t, begin(t, d, "u"), 1)
	recordValue(t, begin(t, d, "u"), 2)
	before := readChange(t, published.all()[0]).Sequence
	inProgress := begin(t, d, "u")
	server.Client().FlushAll(t.Context())
	recordValue(t, inProgress, 5)
	recordValue(t, begin(t, d, "u"), 6)
	all := published.all()
	last := readChange(t, all[len(all)-1])
	if len(all) != 2 || last.Previous != 5 || last.Current != 6 || last.Sequence < before {
		t.Errorf("events %+v, want 5 to 6 with a sequence from %d", all, before)
	}
}

// TestEveryChangeIsOneEvent makes 100,000 polls, or a million with FLEET_LONG=1.
// One poll in a hundred finds a change.
func TestEveryChangeIsOneEvent(t *testing.T) {
	t.Parallel()
	subjects, rounds := 200, 500
	if os.Getenv("FLEET_LONG") == "1" {
		rounds *= 10
	}
	server, published := redistest.New(t), &recorder{}
	rdb, err := server.Client().AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	salt := seal.NewSalt(server.Client())
	var polls sync.WaitGroup
	const pollers = 200
	want := make([][]int, subjects) // the values of each, in order
	for p := range pollers {
		polls.Go(func() {
			d := events.NewDetector(counterChanges, rdb, salt, published.publish)
			random := rand.New(rand.NewPCG(1, uint64(p)))
			for s := p; s < subjects; s += pollers {
				value := random.IntN(5)
				want[s] = []int{value}
				if err := poll(d, s, value); err != nil {
					t.Error(err)
					return
				}
				for range rounds {
					reading, err := d.Begin(context.Background(), subject{fmt.Sprint("u-", s)})
					if err != nil {
						t.Error(err)
						return
					}
					read := value
					if random.IntN(100) == 0 {
						value += 1 + random.IntN(3)
						want[s] = append(want[s], value)
						if random.IntN(4) > 0 {
							read = value
						} else {
							// This poll has read the old value, and a later one overtakes it.
							err = poll(d, s, value)
						}
					}
					if err == nil {
						err = reading.Record(context.Background(), read)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	polls.Wait()

	last := map[string]changed{}
	counted := map[string]int{}
	for _, e := range published.all() {
		c := readChange(t, e)
		user := c.Subject.UserID
		if before, known := last[user]; known && (c.Sequence != before.Sequence+1 || c.Previous != before.Current) {
			t.Errorf("%s: %+v after %+v", user, c, before)
		}
		last[user] = c
		counted[user]++
	}
	total := 0
	for s, values := range want {
		user := fmt.Sprint("u-", s)
		total += len(values) - 1
		if counted[user] != len(values)-1 || counted[user] > 0 && last[user].Current != values[len(values)-1] {
			t.Errorf("%s: %d events, the last to %d; want %v", user, counted[user], last[user].Current, values)
		}
	}
	if published.duplicates != 0 {
		t.Errorf("%d events were published more than once", published.duplicates)
	}
	t.Logf("%d polls, %d changes, %d events", subjects*rounds, total, len(published.all()))
}

func poll(d *events.Detector, s, value int) error {
	r, err := d.Begin(context.Background(), subject{fmt.Sprint("u-", s)})
	if err != nil {
		return err
	}
	return r.Record(context.Background(), value)
}
