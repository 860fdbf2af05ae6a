package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/worker"
)

// Whatever ends a task as a dead letter writes the notice with the end, where
// somebody reads the notices, and nowhere else.
func TestDeadLettersAreNoticed(t *testing.T) {
	t.Parallel()
	type task struct {
		name    string
		notice  string // "" for none
		enqueue func(t *testing.T, r *rig) (id string)
	}
	simple := func(taskType string, change ...func(*broker.Job)) func(*testing.T, *rig) string {
		return func(_ *testing.T, r *rig) string { return r.enqueue(taskType, change...).ID }
	}
	tasks := []task{
		// The first two, because only the queue's oldest task can be taken away.
		{"its worker died", "dead", func(_ *testing.T, r *rig) string {
			id := r.enqueue("t:done").ID
			r.takeAway(id, "dead", true)
			return id
		}},
		{"it killed three workers", "dead", func(_ *testing.T, r *rig) string {
			id := r.enqueue("t:read").ID
			r.crash(id, 3)
			return id
		}},
		{"the vendor refused it", "dead", simple("t:invalid")},
		{"its budget is spent", "dead", simple("t:fails")},
		{"it may have happened", "dead", simple("t:unsure")},
		{"asked for, too", "finished dead", simple("t:invalid", func(j *broker.Job) { j.Notify = true })},
		{"a schedule asks again", "", simple("t:invalid", func(j *broker.Job) { j.Scheduled = true })},
		{"a schedule's, and asked for", "finished", simple("t:invalid", func(j *broker.Job) { j.Scheduled, j.Notify = true, true })},
		{"done", "", simple("t:done")},
		{"declined", "", simple("t:declined")},
		{"too late to run", "dead", simple("t:done", func(j *broker.Job) { j.ExpireAfter = time.Millisecond })},
		{"Redis has lost its record", "dead", func(t *testing.T, r *rig) string {
			id := r.enqueue("t:done").ID
			client(r).Del(t.Context(), "errand:{otp}:task:"+id)
			return id
		}},
	}
	fault := func(kind clients.Kind) handler {
		return func(context.Context, string) (any, error) {
			return nil, &clients.Error{Vendor: "test", Kind: kind, Message: "m"}
		}
	}
	done := func(context.Context, string) (any, error) { return nil, nil }
	for _, told := range []bool{true, false} {
		t.Run(map[bool]string{true: "somebody reads them", false: "nobody does"}[told], func(t *testing.T) {
			t.Parallel()
			r := newRig(t,
				define("t:done", broker.Policy{}, done), define("t:read", broker.Policy{Redelivery: broker.AtLeastOnce}, done),
				define("t:invalid", broker.Policy{}, fault(clients.Invalid)), define("t:declined", broker.Policy{}, fault(clients.Declined)),
				define("t:fails", broker.Policy{Attempts: 1}, fault(clients.Temporary)), define("t:unsure", broker.Policy{}, fault(clients.Unknown)))
			ids := map[string]task{}
			for _, task := range tasks {
				ids[task.enqueue(t, r)] = task
			}
			woken := make(chan string, 100)
			r.work(func(c *worker.Config) {
				if told {
					c.Finished = func(id string) { woken <- id }
				}
			})
			for id := range ids {
				r.waitRewritten(id)
			}
			notices, err := r.store.PendingOutbox(t.Context(), "otp", 100)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, n := range notices {
				var words []string
				if n.Finished {
					words = append(words, "finished")
				}
				if n.Dead {
					words = append(words, "dead")
				}
				got[n.ID] = strings.Join(words, " ")
			}
			for id, task := range ids {
				want := task.notice
				if !told { // who asked for it is noticed all the same
					want = map[string]string{"finished": "finished", "finished dead": "finished"}[want]
				}
				if got[id] != want {
					t.Errorf("%s: the notice is %q, want %q", task.name, got[id], want)
				}
			}
			if told {
				for range got { // and each is looked after at once
					<-woken
				}
			}
		})
	}
}
