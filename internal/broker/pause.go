package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// PauseQueue has no worker take a task of a queue, for a time or, with 0, until
// ResumeQueue. It writes asynq's own mark, so that its tools show the pause; the mark
// expires, and so the queue resumes by itself. It returns the pause with its end.
func PauseQueue(
	ctx context.Context,
	rdb redis.UniversalClient,
	queue string,
	p record.Pause,
	d time.Duration,
) (record.Pause, error) {
	mark := func(pipe redis.Pipeliner, now time.Time) {
		pipe.Set(ctx, asynqPrefix(queue)+"paused", now.Unix(), d)
	}
	return record.SetPause(ctx, rdb, record.QueuePauseKey(queue), p, d, mark)
}

// ResumeQueue ends the pause of a queue, whoever began it. It reports whether there was
// one.
func ResumeQueue(ctx context.Context, rdb redis.UniversalClient, queue string) (bool, error) {
	n, err := rdb.Del(ctx, asynqPrefix(queue)+"paused").Result()
	if err == nil {
		err = rdb.Del(ctx, record.QueuePauseKey(queue)).Err()
	}
	if err != nil {
		return false, fmt.Errorf("resume the queue: %w", err)
	}
	return n > 0, nil
}
