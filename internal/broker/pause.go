package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// Pause is why no task of a queue starts.
type Pause struct {
	Who    string
	Reason string
	// Until is when the queue resumes by itself; zero if it does not.
	Until time.Time
}

// String says it in words.
func (p Pause) String() string {
	text := "paused"
	if p.Who != "" {
		text += " by " + p.Who
	}
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	return text
}

func pauseKey(queue string) string {
	return record.Prefix(queue) + "pause"
}

// PauseQueue has no worker take a task of a queue, for a time or, with 0, until
// ResumeQueue. It writes asynq's own mark, so that its tools show the pause; the mark
// expires, and so the queue resumes by itself. It returns the end of the pause.
func PauseQueue(
	ctx context.Context,
	rdb redis.UniversalClient,
	queue string,
	p Pause,
	d time.Duration,
) (time.Time, error) {
	now, err := rdb.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("read Redis' time: %w", err)
	}
	var until time.Time
	ms := int64(0)
	if d > 0 {
		until = now.Add(d)
		ms = until.UnixMilli()
	}
	_, err = rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, asynqPrefix(queue)+"paused", now.Unix(), d)
		pipe.Del(ctx, pauseKey(queue))
		pipe.HSet(ctx, pauseKey(queue), "who", p.Who, "reason", p.Reason, "until", ms)
		if d > 0 {
			pipe.PExpire(ctx, pauseKey(queue), d)
		}
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("pause the queue: %w", err)
	}
	return until, nil
}

// ResumeQueue ends the pause of a queue, whoever began it. It reports whether there was
// one.
func ResumeQueue(ctx context.Context, rdb redis.UniversalClient, queue string) (bool, error) {
	n, err := rdb.Del(ctx, asynqPrefix(queue)+"paused").Result()
	if err == nil {
		err = rdb.Del(ctx, pauseKey(queue)).Err()
	}
	if err != nil {
		return false, fmt.Errorf("resume the queue: %w", err)
	}
	return n > 0, nil
}
