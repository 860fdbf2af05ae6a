package record

import (
	"context"
	"fmt"
	"time"
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
}

// DeadLetters counts those of a queue.
func (s *Store) DeadLetters(ctx context.Context, queue string) (int64, error) {
	n, err := s.rdb.XLen(ctx, deadKey(queue)).Result()
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// EachDeadLetter calls do for each of a queue, the oldest first, until do
// returns an error.
func (s *Store) EachDeadLetter(ctx context.Context, queue string, do func(DeadLetter) error) error {
	return s.eachEntry(ctx, deadKey(queue), func(at time.Time, v map[string]any) error {
		return do(DeadLetter{
			ID:       text(v, "id"),
			Type:     text(v, "type"),
			Outcome:  Outcome(text(v, "outcome")),
			Code:     text(v, "code"),
			Message:  text(v, "message"),
			Attempts: atoi(text(v, "attempts")),
			At:       at,
		})
	})
}

// page is how many entries of a stream are read at once.
const page = 500

func (s *Store) eachEntry(ctx context.Context, key string, do func(at time.Time, values map[string]any) error) error {
	for start := "-"; ; {
		entries, err := s.rdb.XRangeN(ctx, key, start, "+", page).Result()
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		for _, e := range entries {
			var ms int64
			if _, err := fmt.Sscanf(e.ID, "%d-", &ms); err != nil {
				return fmt.Errorf("read the entry %s: %w", e.ID, err)
			}
			if err := do(time.UnixMilli(ms), e.Values); err != nil {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
		start = "(" + entries[len(entries)-1].ID
	}
}

func text(values map[string]any, name string) string {
	s, _ := values[name].(string)
	return s
}
