package faults

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

const day = 24 * time.Hour

// Twenty producers enqueue a task with the same key at once, and again two days
// later, when only the key is left of a task that is done, and the record as well of
// one that is unknown: there is one effect. After a week the key is free.
func TestOneKeyHasOneEffect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		lost    bool // the vendor's answer is lost
		outcome tasks.Outcome
	}{
		{name: "done", outcome: tasks.Done},
		{name: "unknown", lost: true, outcome: tasks.Unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, fleet.Options{Env: map[string]string{"WORKER_QUEUES": fleet.Queues("otp")}})
			h.Start(2)
			if tc.lost {
				h.Passcodes.Inject(sandbox.Fault{AfterEffect: true, Drop: true, Times: 1})
			}
			passcode := h.NewPasscode()
			effects := func() int {
				return h.Passcodes.Engine.EffectsOf(h.Passcodes.Op, passcode.Values[0].Value)
			}

			first := h.enqueueWithOneKey(passcode)
			if first.enqueued != 1 || len(first.ids) != 1 {
				t.Fatalf(
					"%d of 20 producers enqueued a task, with %d IDs; want one and one",
					first.enqueued,
					len(first.ids),
				)
			}
			id := first.ids[0]
			h.Wait(waitLimit, first.ids)
			if status := h.status(id); status.Outcome != tc.outcome {
				t.Fatalf("the task ended %+v; want %s", status, tc.outcome)
			}

			h.advanceExpiry(2 * day)
			_, err := h.Client.Status(t.Context(), id)
			if kept := err == nil; kept != tc.outcome.Archived() {
				t.Fatalf("after two days, reading the record of a task that ended %s: %v", tc.outcome, err)
			}
			later := h.enqueueWithOneKey(passcode)
			if later.enqueued != 0 || !slices.Equal(later.ids, first.ids) || later.outcome != tc.outcome {
				t.Errorf("two days later: %+v, want duplicates of %s that ended %s", later, id, tc.outcome)
			}
			// Another task passes through the queue behind everything enqueued so far.
			h.Wait(waitLimit, []string{h.EnqueueNew(h.Passcodes)})
			if n := effects(); n != 1 {
				t.Errorf("%d passcodes were sent, want 1", n)
			}

			h.advanceExpiry(6 * day)
			week := h.enqueueWithOneKey(passcode)
			if week.enqueued != 1 {
				t.Errorf("after eight days the key is not free: %+v", week)
			}
			h.Wait(waitLimit, week.ids)
			if n := effects(); n != 2 {
				t.Errorf("%d passcodes were sent, want 2 with the new one", n)
			}
			h.StopAll()
		})
	}
}

// enqueueResult is what several producers of the same task got.
type enqueueResult struct {
	ids      []string // without repetitions
	enqueued int      // how many producers got no duplicate
	outcome  tasks.Outcome
}

// enqueueWithOneKey has 20 producers, each with its own connections, enqueue the
// task with the same key at the same time.
func (h *harness) enqueueWithOneKey(p tasks.Payload) enqueueResult {
	h.t.Helper()
	var result enqueueResult
	var mu sync.Mutex
	var producers sync.WaitGroup
	start := make(chan struct{})
	for range 20 {
		client := h.NewClient()
		producers.Go(func() {
			<-start
			ticket, err := client.EnqueuePayload(h.t.Context(), p, tasks.Key("order-4711"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				h.t.Error(err)
				return
			}
			if !ticket.Duplicate {
				result.enqueued++
			}
			if !slices.Contains(result.ids, ticket.ID) {
				result.ids = append(result.ids, ticket.ID)
			}
			result.outcome = ticket.Outcome
		})
	}
	close(start)
	producers.Wait()
	return result
}

// advanceExpiry brings everything that expires in Redis nearer to its end: the keys,
// and the times until which asynq keeps completed tasks.
func (h *harness) advanceExpiry(by time.Duration) {
	h.t.Helper()
	ctx := h.t.Context()
	rdb := h.Conn()
	for _, key := range rdb.Keys(ctx, "*").Val() {
		switch left := rdb.PTTL(ctx, key).Val(); {
		case left < 0: // it does not expire
		case left <= by:
			rdb.Del(ctx, key)
		default:
			rdb.PExpire(ctx, key, left-by)
		}
	}
	const completed = "asynq:{otp}:completed"
	for _, z := range rdb.ZRangeWithScores(ctx, completed, 0, -1).Val() {
		id := z.Member.(string)
		if until := time.Unix(int64(z.Score), 0).Add(-by); until.After(time.Now()) {
			rdb.ZAdd(ctx, completed, redis.Z{Member: id, Score: float64(until.Unix())})
			continue
		}
		rdb.ZRem(ctx, completed, id)
		rdb.Del(ctx, strings.Replace(completed, "completed", "t:", 1)+id)
	}
}
