package schedule

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// RunResult counts the tasks of a tick that was requested by hand.
type RunResult struct {
	Enqueued int
	// Duplicate tasks were enqueued by the same request in the same second.
	Duplicate int
	// Overlap tasks were skipped: the subject's earlier task is still active.
	Overlap int
}

// RunNow enqueues one tick of a schedule at once, in addition to its own ticks, which
// makes up for those that were missed. Two requests in the same second enqueue it once.
// After an error some of the tasks may have been enqueued.
func RunNow(
	ctx context.Context,
	s *Schedule,
	rdb redis.UniversalClient,
	enqueuer Enqueuer,
) (RunResult, error) {
	now, err := redisTime(ctx, rdb)
	if err != nil {
		return RunResult{}, err
	}
	b := newBatch(s, enqueuer, make(chan struct{}, maxInFlight), now, now)
	b.keyPrefix = "schedule/" + s.Name + "/now-" + strconv.FormatInt(now.Unix(), 10) + "/"
	b.deadline = time.Time{} // no other worker resumes it
	var result RunResult
	for from := 0; from < s.Subjects(); from += chunkSize {
		counts, overlapping, err := b.enqueueRange(ctx, from, min(from+chunkSize, s.Subjects()))
		result.Enqueued += counts[taskEnqueued]
		result.Duplicate += counts[taskDuplicate]
		result.Overlap += len(overlapping)
		if err != nil {
			return result, err
		}
		if n := counts[taskRefused]; n > 0 {
			return result, fmt.Errorf("%d payloads now break a rule", n)
		}
	}
	return result, forgetMissed(ctx, rdb, s.Name)
}

// redisTime reads Redis's clock, with a short timeout.
func redisTime(ctx context.Context, rdb redis.UniversalClient) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now, err := rdb.Time(ctx).Result()
	if err != nil {
		return now, fmt.Errorf("read Redis's clock: %w", err)
	}
	return now, nil
}
