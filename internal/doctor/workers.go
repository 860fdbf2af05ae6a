package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
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

// clockChecks warn of the workers whose clocks are wrong, as they say themselves.
func (d *doctor) clockChecks(ctx context.Context) []Check {
	wrong, err := record.New(d.redis).WrongClocks(ctx)
	if err != nil {
		return nil // the check of the queues says that Redis does not answer
	}
	var checks []Check
	for _, owner := range slices.Sorted(maps.Keys(wrong)) {
		checks = append(checks, Check{
			Level: redisguard.Warn,
			Name:  "clock of " + owner,
			Seen:  redisguard.SkewText(wrong[owner], "the worker's"),
			Fix:   redisguard.FixClock,
		})
	}
	return checks
}
