package faults

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

const day = 24 * time.Hour

// Twenty producers ask for the same thing at once, and again two days later,
// when nothing is left of the task but its key: one effect. When the key's week
// is over it is free.
func TestOneKeyOneEffect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		vendor  sandbox.Fault
		outcome tasks.Outcome
		effects int
	}{
		{name: "done", outcome: tasks.Done, effects: 1},
		{
			name: "unknown",
			vendor: sandbox.Fault{
				Op:          danaconnecttest.OpSend,
				AfterEffect: true,
				Drop:        true,
				Times:       1,
			},
			outcome: tasks.Unknown,
			effects: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := fleet.New(t, fleet.Options{})
			s.Start(2)
			if tc.vendor.Op != "" {
				s.OTP.Inject(tc.vendor)
			}
			send := s.NewOTPSend()
			effects := func() int { return s.OTP.EffectsOf(danaconnecttest.OpSend, send.Values[0].Value) }

			first := askAll(t, s, send)
			if first.fresh != 1 || len(first.ids) != 1 {
				t.Fatalf("%d of 20 producers enqueued a task, %d IDs; want one and one", first.fresh, len(first.ids))
			}
			s.Wait(soon, first.ids)
			if status, err := s.Client.Status(t.Context(), first.ids[0]); err != nil || status.Outcome != tc.outcome {
				t.Fatalf("it ended %+v, %v; want %s", status, err, tc.outcome)
			}

			later(t, s, 2*day)
			if _, err := s.Client.Status(t.Context(), first.ids[0]); err == nil {
				t.Fatal("after two days the record is still there: the clock did not move")
			}
			again := askAll(t, s, send)
			if again.fresh != 0 || len(again.ids) != 1 || again.ids[0] != first.ids[0] || again.outcome != tc.outcome {
				t.Errorf("two days later: %+v, want duplicates of %s that ended %s", again, first.ids[0], tc.outcome)
			}
			other := s.SendOTP() // goes through the same queue, after all that was put there
			s.Wait(soon, []string{other})
			if n := effects(); n != tc.effects {
				t.Errorf("%d passcodes went out, want %d", n, tc.effects)
			}

			later(t, s, 6*day)
			week := askAll(t, s, send)
			if week.fresh != 1 {
				t.Errorf("after eight days the key is not free: %+v", week)
			}
			s.Wait(soon, week.ids)
			if n := effects(); n != tc.effects+1 {
				t.Errorf("%d passcodes, want %d with the new one", n, tc.effects+1)
			}
			s.StopAll()
		})
	}
}

type asked struct {
	ids     []string // different ones
	fresh   int      // that were no duplicates
	outcome tasks.Outcome
}

// askAll has 20 producers, each with connections of its own, enqueue the task
// with one key at the same time.
func askAll(t *testing.T, s *fleet.Site, p queue.Payload) asked {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var all asked
	var mu sync.Mutex
	var producers sync.WaitGroup
	start := make(chan struct{})
	for range 20 {
		client, err := tasks.Open(s.Settings()["REDIS_URL"], tasks.EncryptionKeys(s.Settings()["ENCRYPTION_KEYS"]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		producers.Go(func() {
			<-start
			ticket, err := client.EnqueueJSON(t.Context(), p.Type(), raw, tasks.Key("order-4711"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			if !ticket.Duplicate {
				all.fresh++
			}
			if len(all.ids) == 0 || all.ids[0] != ticket.ID {
				all.ids = append(all.ids, ticket.ID)
			}
			all.outcome = ticket.Outcome
		})
	}
	close(start)
	producers.Wait()
	return all
}

// later moves Redis's clock for everything that expires: the lives of keys, and
// the times until which asynq keeps what is completed.
func later(t *testing.T, s *fleet.Site, by time.Duration) {
	t.Helper()
	ctx, rdb := t.Context(), s.Conn()
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
