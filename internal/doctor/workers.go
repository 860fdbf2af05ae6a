package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
)

// fleet is what Redis tells of the queues and the workers.
type fleet struct {
	queues  []broker.QueueInfo
	workers broker.Workers
}

// inspectFleet reads the fleet from Redis.
func inspectFleet(ctx context.Context, rdb redis.UniversalClient) (*fleet, error) {
	workers, err := broker.LiveWorkers(ctx, rdb)
	if err != nil {
		return nil, err
	}
	queues, err := broker.Queues(ctx, rdb)
	if err != nil {
		return nil, err
	}
	return &fleet{
		queues:  queues,
		workers: workers,
	}, nil
}

func (f *fleet) workersText() string {
	if f.workers.Processes == 0 {
		return "none is live"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.workers.Running)) {
		parts = append(parts, fmt.Sprintf("%s by %d", name, f.workers.Running[name]))
	}
	return fmt.Sprintf("%d live; queues run: %s", f.workers.Processes, strings.Join(parts, ", "))
}
