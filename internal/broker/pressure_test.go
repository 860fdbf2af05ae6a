package broker_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"errand.internal/internal/broker"
)

func wantFull(t *testing.T, err error) *broker.FullError {
	t.Helper()
	full, ok := errors.AsType[*broker.FullError](err)
	if !ok {
		t.Fatalf("%v, want a FullError", err)
	}
	return full
}

// While QUEUE_LIMIT tasks of a queue wait, due or not, no more are stored. A key that is
// known is still answered, and another queue is not concerned.
func TestNoMoreTasksThanMayWaitAreStored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.producer.RefuseWhenFull(2)
	first := r.enqueue(keyed("k"))
	later := r.enqueue(func(j *broker.Job) { j.In = time.Hour })
	_, err := r.producer.Enqueue(t.Context(), sample())
	full := wantFull(t, err)
	if full.Queue != queue || full.Waiting != 2 || full.Limit != 2 || full.MemoryUsed != 0 {
		t.Errorf("%+v", full)
	}
	if again := r.enqueue(keyed("k")); !again.Duplicate || again.ID != first.ID {
		t.Errorf("the known key got %+v", again)
	}
	r.enqueue(func(j *broker.Job) { j.Policy.Queue = "polls" })
	if err := r.producer.Cancel(t.Context(), later.ID); err != nil {
		t.Fatal(err)
	}
	r.enqueue()
}

// infoCalls is how often Redis was asked for INFO.
func (r *rig) infoCalls() int {
	r.t.Helper()
	stats := r.rdb.Info(r.t.Context(), "commandstats").Val()
	found := regexp.MustCompile(`cmdstat_info:calls=(\d+)`).FindStringSubmatch(stats)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// Nothing is stored while Redis has less than a tenth of its memory left, so that workers
// can still write what became of the tasks. A producer looks once a second, and not at all
// with a command of its own.
func TestNothingIsStoredInARedisThatIsNearlyFull(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.producer.RefuseWhenFull(0)
	began := time.Now()
	before := r.infoCalls()
	for range 200 {
		r.enqueue()
	}
	looked := r.infoCalls() - before - 1 // the last is the test's own
	if most := 1 + int(time.Since(began)/time.Second); looked < 1 || looked > most {
		t.Errorf("200 tasks looked at the memory %d times, want 1 to %d", looked, most)
	}

	var used int
	info := r.rdb.Info(t.Context(), "memory").Val()
	if _, err := fmt.Sscan(regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(info)[1], &used); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes int) {
		if err := r.rdb.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(bytes)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit(used * 100 / 94)
	producer := r.newProducer()
	producer.RefuseWhenFull(0)
	for range 3 {
		_, err := producer.Enqueue(t.Context(), sample())
		if full := wantFull(t, err); full.MemoryUsed < 90 || full.MemoryUsed > 100 {
			t.Errorf("%+v", full)
		}
	}
	limit(used * 2)
	if _, err := producer.Enqueue(t.Context(), sample()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
