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

// Unconfirmed lists the audited tasks that were to run before the given time and
// are neither done nor cancelled, with their start times.
func (s *Store) Unconfirmed(ctx context.Context, queue string, before time.Time) (map[string]time.Time, error) {
	found, err := s.rdb.ZRangeByScoreWithScores(ctx, unconfirmedKey(queue), &redis.ZRangeBy{
		Min:   "-inf",
		Max:   fmt.Sprint(before.UnixMilli()),
		Count: 1000,
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read what is unconfirmed: %w", err)
	}
	open := make(map[string]time.Time, len(found))
	for _, z := range found {
		open[fmt.Sprint(z.Member)] = time.UnixMilli(int64(z.Score))
	}
	return open, nil
}
