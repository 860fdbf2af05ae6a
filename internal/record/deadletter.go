package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// DeadLetter is a task that ended archived.
type DeadLetter struct {
	ID       string
	Type     string
	Outcome  Outcome
	Code     string
	Message  string
	Attempts int
	At       time.Time
	// Replay is the task that replays it, as long as its record is kept.
	Replay string
}

// DeadLetters counts those of a queue.
func (s *Store) DeadLetters(ctx context.Context, queue string) (int64, error) {
	n, err := s.rdb.XLen(ctx, deadKey(queue)).Result()
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// EachDeadLetter calls do for each of a queue since the given time, the oldest first,
// until do returns an error.
func (s *Store) EachDeadLetter(ctx context.Context, queue string, since time.Time, do func(DeadLetter) error) error {
	return s.eachPage(ctx, deadKey(queue), since, func(entries []redis.XMessage) error {
		pipe := s.rdb.Pipeline()
		replays := make([]*redis.StringCmd, len(entries))
		for i, e := range entries {
			replays[i] = pipe.HGet(ctx, Key(queue, text(e.Values, "id")), "replay")
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read the replays: %w", err)
		}
		for i, e := range entries {
			at, err := entryTime(e)
			if err != nil {
				return err
			}
			err = do(DeadLetter{
				ID:       text(e.Values, "id"),
				Type:     text(e.Values, "type"),
				Outcome:  Outcome(text(e.Values, "outcome")),
				Code:     text(e.Values, "code"),
				Message:  text(e.Values, "message"),
				Attempts: atoi(text(e.Values, "attempts")),
				At:       at,
				Replay:   replays[i].Val(),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// page is how many entries of a stream are read at once.
const page = 500

// eachEntry calls do for each entry of a stream since the given time.
func (s *Store) eachEntry(
	ctx context.Context,
	key string,
	since time.Time,
	do func(at time.Time, values map[string]any) error,
) error {
	return s.eachPage(ctx, key, since, func(entries []redis.XMessage) error {
		for _, e := range entries {
			at, err := entryTime(e)
			if err != nil {
				return err
			}
			if err := do(at, e.Values); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachPage calls do for each page of a stream's entries since the given time.
func (s *Store) eachPage(ctx context.Context, key string, since time.Time, do func([]redis.XMessage) error) error {
	for start := streamStart(since); ; {
		entries, err := s.rdb.XRangeN(ctx, key, start, "+", page).Result()
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		if len(entries) == 0 {
			return nil
		}
		if err := do(entries); err != nil {
			return err
		}
		if len(entries) < page {
			return nil
		}
		start = "(" + entries[len(entries)-1].ID
	}
}

// entryTime is when an entry of a stream was written.
func entryTime(e redis.XMessage) (time.Time, error) {
	var ms int64
	if _, err := fmt.Sscanf(e.ID, "%d-", &ms); err != nil {
		return time.Time{}, fmt.Errorf("read the entry %s: %w", e.ID, err)
	}
	return time.UnixMilli(ms), nil
}

func text(values map[string]any, name string) string {
	s, _ := values[name].(string)
	return s
}
