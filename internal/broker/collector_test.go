package broker_test

import (
	"strings"
	"testing"

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
	const own = `# HELP errand_queue_tasks Tasks in a queue, by state.
# TYPE errand_queue_tasks gauge
errand_queue_tasks{queue="otp",state="archived"} 0
errand_queue_tasks{queue="otp",state="completed"} 0
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
errand_queue_tasks{queue="strange",state="pending"} 1
errand_queue_tasks{queue="strange",state="retrying"} 0
errand_queue_tasks{queue="strange",state="running"} 0
errand_queue_tasks{queue="strange",state="scheduled"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(own+strange), "errand_queue_tasks"); err != nil {
		t.Error(err)
	}
}
