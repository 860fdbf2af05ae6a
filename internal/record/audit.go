package record

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// AuditEntry is one line of a queue's append-only audit log.
type AuditEntry struct {
	ID   string
	Type string
	// Event is asked, attempt or ended.
	Event string
	// Subject is set with asked, sealed as the producer did.
	Subject []byte
	// Outcome is set with ended.
	Outcome Outcome
	Code    string
	Message string
	At      time.Time
}

// EachAuditEntry calls do for each line of a queue's audit log, the oldest first,
// until do returns an error.
func (s *Store) EachAuditEntry(ctx context.Context, queue string, do func(AuditEntry) error) error {
	return s.eachEntry(ctx, auditKey(queue), func(at time.Time, v map[string]any) error {
		return do(AuditEntry{
			ID:      text(v, "id"),
			Type:    text(v, "type"),
			Event:   text(v, "event"),
			Subject: []byte(text(v, "subject")),
			Outcome: Outcome(text(v, "outcome")),
			Code:    text(v, "code"),
			Message: text(v, "message"),
			At:      at,
		})
	})
}

// EachUnconfirmed calls do for each audited task that was to run before the given time
// and that nothing has confirmed since, with its start time.
func (s *Store) EachUnconfirmed(
	ctx context.Context,
	queue string,
	before time.Time,
	do func(id string, due time.Time) error,
) error {
	for offset := int64(0); ; offset += page {
		found, err := s.rdb.ZRangeByScoreWithScores(ctx, unconfirmedKey(queue), &redis.ZRangeBy{
			Min:    "-inf",
			Max:    fmt.Sprint(before.UnixMilli()),
			Offset: offset,
			Count:  page,
		}).Result()
		if err != nil {
			return fmt.Errorf("read what is unconfirmed: %w", err)
		}
		for _, z := range found {
			if err := do(fmt.Sprint(z.Member), time.UnixMilli(int64(z.Score))); err != nil {
				return err
			}
		}
		if len(found) < page {
			return nil
		}
	}
}

// ForgetUnconfirmed takes a task off the unconfirmed ones.
func (s *Store) ForgetUnconfirmed(ctx context.Context, queue, id string) error {
	if err := s.rdb.ZRem(ctx, unconfirmedKey(queue), id).Err(); err != nil {
		return fmt.Errorf("forget what is unconfirmed: %w", err)
	}
	return nil
}
