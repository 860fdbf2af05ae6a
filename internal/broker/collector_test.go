package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"errand.internal/internal/broker"
)

// The collector counts what the lists of a worker's own queues hold, also while asynq's
// set of queues, which may be lost with Redis' data, does not name them; and it counts
// what lies in the queues that nobody runs.
func TestTheCollectorReadsTheListsThemselves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 3 {
		r.enqueue()
	}
	r.take()
	r.do("DEL", "asynq:queues")
	registry := prometheus.NewRegistry()
	registry.MustRegister(broker.NewCollector(r.rdb, []string{queue}))
	const own = `# HELP errand_queue_tasks Tasks in a queue, by state. While the queue is paused, paused counts those that would be pending.
# TYPE errand_queue_tasks gauge
errand_queue_tasks{queue="otp",state="archived"} 0
errand_queue_tasks{queue="otp",state="completed"} 0
errand_queue_tasks{queue="otp",state="parked"} 0
errand_queue_tasks{queue="otp",state="paused"} 0
errand_queue_tasks{queue="otp",state="pending"} 2
errand_queue_tasks{queue="otp",state="retrying"} 0
errand_queue_tasks{queue="otp",state="running"} 1
errand_queue_tasks{queue="otp",state="scheduled"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(own), "errand_queue_tasks"); err != nil {
		t.Error(err)
	}
	r.do("SADD", "asynq:queues", "strange")
	r.do("LPUSH", "asynq:{strange}:pending", "id")
	const strange = `errand_queue_tasks{queue="strange",state="archived"} 0
errand_queue_tasks{queue="strange",state="completed"} 0
errand_queue_tasks{queue="strange",state="parked"} 0
errand_queue_tasks{queue="strange",state="paused"} 0
errand_queue_tasks{queue="strange",state="pending"} 1
errand_queue_tasks{queue="strange",state="retrying"} 0
errand_queue_tasks{queue="strange",state="running"} 0
errand_queue_tasks{queue="strange",state="scheduled"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(own+strange), "errand_queue_tasks"); err != nil {
		t.Error(err)
	}
}

// What waits for a blocker, and what waits because the queue is paused, is counted as
// such, whatever the blocker's name.
func TestTheCollectorTellsParkedAndPausedTasks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 5 {
		r.enqueue()
	}
	r.end(r.take(), broker.Result{Parked: true, ParkedFor: "cred", Wait: time.Hour})
	r.end(r.take(), broker.Result{Parked: true, Wait: time.Hour})
	r.end(r.take(), broker.Result{Wait: time.Hour})
	r.do("SET", "asynq:{otp}:paused", "1")
	registry := prometheus.NewRegistry()
	registry.MustRegister(broker.NewCollector(r.rdb, []string{queue}))
	counts := func(want string) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "errand_queue_tasks" {
					got[m.GetLabel()[1].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		text := fmt.Sprintf("parked %g, paused %g, pending %g, retrying %g",
			got["parked"], got["paused"], got["pending"], got["retrying"])
		if text != want {
			t.Errorf("the collector reports %s, want %s", text, want)
		}
	}
	counts("parked 2, paused 2, pending 0, retrying 1")
	r.do("DEL", "asynq:{otp}:paused")
	r.forward("retry")
	counts("parked 0, paused 0, pending 5, retrying 0")
}
