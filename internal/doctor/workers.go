package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hibiken/asynq"
)

// fleet is what Redis tells of the queues and the workers.
type fleet struct {
	queues []*asynq.QueueInfo
	// workersOf counts the live workers that run a queue.
	workersOf map[string]int
	// workers counts the live worker processes.
	workers int
}

// inspectFleet reads the fleet from Redis. The inspector takes no context: when
// ctx ends first, its goroutine is abandoned and ends with the client's timeouts.
func inspectFleet(ctx context.Context, inspector *asynq.Inspector) (*fleet, error) {
	type result struct {
		fleet *fleet
		err   error
	}
	done := make(chan result, 1)
	go func() {
		f, err := readFleet(inspector)
		done <- result{f, err}
	}()
	select {
	case r := <-done:
		return r.fleet, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readFleet(inspector *asynq.Inspector) (*fleet, error) {
	servers, err := inspector.Servers()
	if err != nil {
		return nil, err
	}
	f := &fleet{workersOf: map[string]int{}}
	processes := map[string]bool{} // a worker has one asynq server per queue
	for _, server := range servers {
		if server.Status != "active" {
			continue // it is stopping
		}
		processes[fmt.Sprintf("%s:%d", server.Host, server.PID)] = true
		for name := range server.Queues {
			f.workersOf[name]++
		}
	}
	f.workers = len(processes)

	names, err := inspector.Queues()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := inspector.GetQueueInfo(name)
		if errors.Is(err, asynq.ErrQueueNotFound) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		f.queues = append(f.queues, info)
	}
	return f, nil
}

func (f *fleet) workersText() string {
	if f.workers == 0 {
		return "none is live"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.workersOf)) {
		parts = append(parts, fmt.Sprintf("%s by %d", name, f.workersOf[name]))
	}
	return fmt.Sprintf("%d live; queues run: %s", f.workers, strings.Join(parts, ", "))
}
