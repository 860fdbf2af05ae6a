package schedule

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ran says what became of the tasks of a tick that was asked for by hand.
type Ran struct {
	Enqueued int
	// Duplicate were enqueued by the same request in the same second.
	Duplicate int
	// Overlap were skipped: the subject's earlier task is under way.
	Overlap int
}

// RunNow enqueues one tick of a schedule at once, beside its own ticks. Asked
// twice within a second, it enqueues once. After an error some of the tasks may
// have been enqueued.
func RunNow(
	ctx context.Context,
	s *Schedule,
	rdb redis.UniversalClient,
	to Enqueuer,
) (Ran, error) {
	now, err := clock(ctx, rdb)
	if err != nil {
		return Ran{}, err
	}
	b := newBatch(s, to, make(chan struct{}, inFlight), now, now)
	b.stem = "schedule/" + s.Name + "/now-" + strconv.FormatInt(now.Unix(), 10) + "/"
	b.by = time.Time{} // nobody goes on with it
	var ran Ran
	for from := 0; from < s.Subjects(); from += chunk {
		counts, overlapped, err := b.run(ctx, from, min(from+chunk, s.Subjects()))
		ran.Enqueued += counts[taskEnqueued]
		ran.Duplicate += counts[taskDuplicate]
		ran.Overlap += len(overlapped)
		if err != nil {
			return ran, err
		}
		if n := counts[taskRefused]; n > 0 {
			return ran, fmt.Errorf("%d payloads break a rule today", n)
		}
	}
	return ran, nil
}

// clock reads Redis's clock, or says soon that there is none.
func clock(ctx context.Context, rdb redis.UniversalClient) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now, err := rdb.Time(ctx).Result()
	if err != nil {
		return now, fmt.Errorf("read Redis's clock: %w", err)
	}
	return now, nil
}
