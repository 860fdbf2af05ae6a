package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/events"
	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
)

// queueChecks reports which queues a worker with these settings runs, which
// workers are live, and in which queues tasks wait although no worker runs them.
func (d *doctor) queueChecks(ctx context.Context) []Check {
	own := d.ownQueues()
	workers := Check{Level: redisguard.Warn, Name: "workers"}
	if !d.redisAnswers() {
		workers.Seen = "not checked: Redis does not answer"
		workers.Fix = "see redis above"
		return []Check{d.ownQueuesCheck(own), workers}
	}
	seen, err := inspectFleet(ctx, d.redis)
	if err != nil {
		workers.Seen = "not checked: Redis did not list its queues in time"
		workers.Fix = "run the doctor again"
		return []Check{d.ownQueuesCheck(own), workers}
	}
	workers.Level = redisguard.OK
	workers.Seen = seen.workersText()
	checks := append([]Check{d.ownQueuesCheck(own), workers}, d.clockChecks(ctx)...)
	for _, q := range seen.queues {
		if c, stuck := stuckQueueCheck(q, seen.workers.Running[q.Queue], own[q.Queue] > 0); stuck {
			checks = append(checks, c)
		}
	}
	return append(checks, d.pausedAccountChecks(ctx)...)
}

// pausedAccountChecks warns of the accounts that are paused.
func (d *doctor) pausedAccountChecks(ctx context.Context) []Check {
	store := record.New(d.redis)
	accounts, err := store.Accounts(ctx)
	var paused map[string]record.Pause
	if err == nil {
		paused, err = store.PausedAccounts(ctx, accounts...)
	}
	if err != nil {
		return []Check{{
			Level: redisguard.Warn,
			Name:  "paused accounts",
			Seen:  "not checked: Redis did not answer in time",
			Fix:   "run the doctor again",
		}}
	}
	var checks []Check
	for _, name := range slices.Sorted(maps.Keys(paused)) {
		resume := "worker resume " + name
		if slices.Contains(config.QueueNames(), name) {
			resume += " --account"
		}
		checks = append(checks, Check{
			Level: redisguard.Warn,
			Name:  "account " + name,
			Seen:  paused[name].String(),
			Fix:   resume,
		})
	}
	return checks
}

// ownQueues are the queues that a worker with these settings runs, with the
// concurrency of each. An account whose settings are wrong adds none.
func (d *doctor) ownQueues() map[string]int {
	own := map[string]int{}
	for _, a := range d.accounts {
		maps.Copy(own, d.config.Queues.Runnable(a.definitions))
	}
	n := d.config.Queues[events.Queue]
	if n > 0 && d.config.Events.Configured() && d.config.Events.Validate() == nil {
		own[events.Queue] = n
	}
	return own
}

func (d *doctor) ownQueuesCheck(own map[string]int) Check {
	var runs, others []string
	for _, name := range d.config.Queues.Names() {
		if n := own[name]; n > 0 {
			runs = append(runs, fmt.Sprintf("%s=%d", name, n))
		} else {
			others = append(others, name)
		}
	}
	left := ""
	if len(others) > 0 {
		left = "; left to other workers: " + strings.Join(others, ", ")
	}
	if len(runs) == 0 {
		return Check{
			Level: redisguard.Fail,
			Name:  "queues",
			Seen:  "a worker with these settings would run none" + left,
			Fix:   "name queues in WORKER_QUEUES whose vendors have complete credentials here",
		}
	}
	return Check{
		Level: redisguard.OK,
		Name:  "queues",
		Seen:  "a worker with these settings runs " + strings.Join(runs, ", ") + left,
	}
}

// stuckQueueCheck warns of a queue that is paused, or that has tasks and no worker runs.
// own reports whether a worker with these settings would run it.
func stuckQueueCheck(q broker.QueueInfo, workers int, own bool) (c Check, stuck bool) {
	backlog := backlogText(q)
	if !q.Paused && (backlog == "" || workers > 0) {
		return Check{}, false
	}
	c = Check{
		Level: redisguard.Warn,
		Name:  "queue " + q.Queue,
		Seen:  "no live worker runs it; tasks: " + backlog,
	}
	switch {
	case q.Paused:
		c.Seen = q.Pause.String() + "; tasks: " + cmp.Or(backlog, "none")
		c.Fix = "worker resume " + q.Queue
	case own:
		c.Fix = "start a worker with these settings"
	case slices.Contains(config.QueueNames(), q.Queue):
		c.Fix = "start a worker with " + q.Queue + " in WORKER_QUEUES and its vendor's credentials"
	default:
		c.Fix = "this version of Errand has no such queue: start the version that filled it, or delete the tasks"
	}
	return c, true
}

// backlogText counts the tasks of a queue; "" if it has none.
func backlogText(q broker.QueueInfo) string {
	var parts []string
	if q.Pending > 0 {
		oldest := q.Latency.Round(time.Second)
		parts = append(parts, fmt.Sprintf("%d waiting, the oldest for %s", q.Pending, oldest))
	}
	if n := q.Scheduled + q.Retry; n > 0 {
		parts = append(parts, fmt.Sprintf("%d due later", n))
	}
	if q.Active > 0 {
		parts = append(parts, fmt.Sprintf("%d held by a worker", q.Active))
	}
	return strings.Join(parts, ", ")
}
