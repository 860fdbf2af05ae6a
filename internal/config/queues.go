package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"errand.internal/internal/events/deliver"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// Queues maps the names of queues to their concurrency. Its text is
// "otp=20,dinero=10".
type Queues map[string]int

// KnownQueues lists the queues of all task types, including Errand's own.
func KnownQueues() []tasks.Queue {
	return append(all.Vendors.Queues(), deliver.Queue)
}

// QueueNames lists the names of KnownQueues.
func QueueNames() []string {
	var names []string
	for _, q := range KnownQueues() {
		names = append(names, q.Name)
	}
	return names
}

// DefaultQueues returns the queues that a worker runs if WORKER_QUEUES is unset.
func DefaultQueues() Queues {
	queues := Queues{}
	for _, q := range KnownQueues() {
		queues[q.Name] = q.Concurrency
	}
	return queues
}

const maxConcurrency = 10_000

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *Queues) UnmarshalText(text []byte) error {
	known := QueueNames()
	found := Queues{}
	for part := range strings.SplitSeq(string(text), ",") {
		name, count, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(count)
		switch {
		case !slices.Contains(known, name):
			return fmt.Errorf("names the queue %q; there are %s", name, strings.Join(known, ", "))
		case err != nil || n < 1 || n > maxConcurrency:
			return fmt.Errorf(
				"must give queue %s a concurrency from 1 to %d, as in %s=10",
				name,
				maxConcurrency,
				name,
			)
		case found[name] != 0:
			return fmt.Errorf("names the queue %s twice", name)
		}
		found[name] = n
	}
	*q = found
	return nil
}

// String returns the text that UnmarshalText reads, in the order of KnownQueues.
func (q Queues) String() string {
	var parts []string
	for _, known := range KnownQueues() {
		if n := q[known.Name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", known.Name, n))
		}
	}
	return strings.Join(parts, ",")
}

// Names lists the queues in alphabetical order.
func (q Queues) Names() []string {
	return slices.Sorted(maps.Keys(q))
}

// Runnable returns the queues with a task type that this process can run. The queues
// of vendors without an account are left to other workers.
func (q Queues) Runnable(definitions []worker.Definition) map[string]int {
	queues := map[string]int{}
	for _, d := range definitions {
		if n := q[d.Base.Queue]; n > 0 && d.Run != nil {
			queues[d.Base.Queue] = n
		}
	}
	return queues
}
