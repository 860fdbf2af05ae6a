package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/events"
	"errand.internal/internal/redisguard"
)

// queueChecks: what this worker would run, which workers are live, and the
// queues in which tasks wait for nobody.
func (d *doctor) queueChecks(ctx context.Context, accounts config.Accounts) []Check {
	mine := d.runs(accounts)
	checks := []Check{d.queueCheck(mine)}
	if !d.redisAnswers() {
		return append(checks, Check{
			Level: redisguard.Warn,
			Name:  "workers",
			Seen:  "not checked: Redis does not answer",
			Fix:   "see redis above",
		})
	}
	found, err := look(ctx, asynq.NewInspectorFromRedisClient(d.redis))
	if err != nil {
		return append(checks, Check{
			Level: redisguard.Warn,
			Name:  "workers",
			Seen:  "not checked: Redis did not tell of its queues in time",
			Fix:   "run the doctor again",
		})
	}
	checks = append(checks, Check{
		Level: redisguard.OK,
		Name:  "workers",
		Seen:  found.workers(),
	})
	for _, q := range found.queues {
		if c, waits := found.check(q, mine); waits {
			checks = append(checks, c)
		}
	}
	return checks
}

// runs is the queues that a worker with these settings runs. A vendor whose
// settings are wrong runs none.
func (d *doctor) runs(accounts config.Accounts) map[string]int {
	mine := map[string]int{}
	for _, a := range accounts {
		if !a.Configured() || a.Validate() != nil {
			continue
		}
		opened := account.New(account.Shared{Redis: d.redis, Ring: d.config.Ring})
		if definitions, err := a.Open(opened); err == nil {
			maps.Copy(mine, d.config.Queues.Runnable(definitions))
		}
		opened.Close()
	}
	if n := d.config.Queues[events.Queue]; n > 0 && d.config.Events.Configured() &&
		d.config.Events.Validate() == nil {
		mine[events.Queue] = n
	}
	return mine
}

func (d *doctor) queueCheck(mine map[string]int) Check {
	c := Check{Level: redisguard.OK, Name: "queues"}
	var ours, others []string
	for _, name := range d.config.Queues.Names() {
		if n := mine[name]; n > 0 {
			ours = append(ours, fmt.Sprintf("%s=%d", name, n))
		} else {
			others = append(others, name)
		}
	}
	left := ""
	if len(others) > 0 {
		left = "; left to other workers: " + strings.Join(others, ", ")
	}
	if len(ours) == 0 {
		c.Level = redisguard.Fail
		c.Seen = "a worker with these settings would run none" + left
		c.Fix = "name queues in WORKER_QUEUES whose vendors have complete credentials here"
		return c
	}
	c.Seen = "a worker with these settings runs " + strings.Join(ours, ", ") + left
	return c
}

// scene is what is in Redis.
type scene struct {
	queues []*asynq.QueueInfo
	// live counts the processes that run a queue.
	live      map[string]int
	processes int
}

// look reads the scene. The inspector takes no context, so it is left behind
// when ctx ends; the client's own timeouts end it.
func look(ctx context.Context, inspector *asynq.Inspector) (*scene, error) {
	type answer struct {
		scene *scene
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		s, err := inspect(inspector)
		done <- answer{s, err}
	}()
	select {
	case a := <-done:
		return a.scene, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func inspect(inspector *asynq.Inspector) (*scene, error) {
	names, err := inspector.Queues()
	if err != nil {
		return nil, err
	}
	servers, err := inspector.Servers()
	if err != nil {
		return nil, err
	}
	s := &scene{live: map[string]int{}}
	processes := map[string]bool{}
	for _, server := range servers {
		if server.Status != "active" {
			continue // it stops
		}
		processes[fmt.Sprintf("%s:%d", server.Host, server.PID)] = true
		for name := range server.Queues {
			s.live[name]++
		}
	}
	s.processes = len(processes)
	slices.Sort(names)
	for _, name := range names {
		switch info, err := inspector.GetQueueInfo(name); {
		case errors.Is(err, asynq.ErrQueueNotFound): // gone since
		case err != nil:
			return nil, err
		default:
			s.queues = append(s.queues, info)
		}
	}
	return s, nil
}

func (s *scene) workers() string {
	if s.processes == 0 {
		return "none is live"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.live)) {
		parts = append(parts, fmt.Sprintf("%s by %d", name, s.live[name]))
	}
	return fmt.Sprintf("%d live; queues run: %s", s.processes, strings.Join(parts, ", "))
}

// check says whether tasks wait in a queue that nobody runs, or that is paused.
func (s *scene) check(q *asynq.QueueInfo, mine map[string]int) (c Check, waits bool) {
	c = Check{Level: redisguard.Warn, Name: "queue " + q.Queue}
	var parts []string
	if q.Pending > 0 {
		parts = append(
			parts,
			fmt.Sprintf(
				"%d waiting, the oldest for %s",
				q.Pending,
				q.Latency.Round(time.Second),
			),
		)
	}
	if n := q.Scheduled + q.Retry; n > 0 {
		parts = append(parts, fmt.Sprintf("%d due later", n))
	}
	if q.Active > 0 {
		parts = append(parts, fmt.Sprintf("%d taken by a worker", q.Active))
	}
	waiting := "tasks: " + strings.Join(parts, ", ")
	switch {
	case len(parts) == 0:
		return c, false
	case q.Paused:
		c.Seen = "paused; " + waiting
		c.Fix = "resume it in /monitoring/ of a worker with MONITORING_READ_ONLY=false"
	case s.live[q.Queue] > 0:
		return c, false
	case mine[q.Queue] > 0:
		c.Seen = "no live worker runs it; " + waiting
		c.Fix = "start a worker with these settings"
	case slices.Contains(config.QueueNames(), q.Queue):
		c.Seen = "no live worker runs it; " + waiting
		c.Fix = "start a worker with " + q.Queue + " in WORKER_QUEUES and its vendor's credentials"
	default:
		c.Seen = "no live worker runs it; " + waiting
		c.Fix = "it is no queue of this version of Errand: start the version that filled it, or delete the tasks"
	}
	return c, true
}
