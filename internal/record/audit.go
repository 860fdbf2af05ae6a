package record

import (
	"context"
	"fmt"
	"strconv"
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
	// By is set with asked if an API key did.
	By string
	// Outcome is set with ended.
	Outcome Outcome
	Code    string
	Message string
	At      time.Time
}

// EachAuditEntry calls do for each line of a queue's audit log, the oldest first,
// until do returns an error.
func (s *Store) EachAuditEntry(ctx context.Context, queue string, do func(AuditEntry) error) error {
	return s.eachEntry(ctx, auditKey(queue), time.Time{}, func(at time.Time, v map[string]any) error {
		return do(AuditEntry{
			ID:      text(v, "id"),
			Type:    text(v, "type"),
			Event:   text(v, "event"),
			Subject: []byte(text(v, "subject")),
			By:      text(v, "by"),
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

// Unconfirmed counts the audited tasks that were to run before the given time and that
// nothing has confirmed since.
func (s *Store) Unconfirmed(ctx context.Context, queue string, before time.Time) (int64, error) {
	n, err := s.rdb.ZCount(ctx, unconfirmedKey(queue), "-inf", fmt.Sprint(before.UnixMilli())).Result()
	if err != nil {
		return 0, fmt.Errorf("count what is unconfirmed: %w", err)
	}
	return n, nil
}

// ForgetUnconfirmed takes a task off the unconfirmed ones.
func (s *Store) ForgetUnconfirmed(ctx context.Context, queue, id string) error {
	if err := s.rdb.ZRem(ctx, unconfirmedKey(queue), id).Err(); err != nil {
		return fmt.Errorf("forget what is unconfirmed: %w", err)
	}
	return nil
}

// Announced returns the age at which each unconfirmed task was announced last, by task.
func (s *Store) Announced(ctx context.Context, queue string) (map[string]time.Duration, error) {
	found, err := s.rdb.HGetAll(ctx, announcedKey(queue)).Result()
	if err != nil {
		return nil, fmt.Errorf("read what was announced: %w", err)
	}
	ages := make(map[string]time.Duration, len(found))
	for id, seconds := range found {
		n, _ := strconv.ParseInt(seconds, 10, 64) // of another text: announced again
		ages[id] = time.Duration(n) * time.Second
	}
	return ages, nil
}

// SetAnnounced keeps the ages at which unconfirmed tasks were announced, and forgets other
// tasks.
func (s *Store) SetAnnounced(ctx context.Context, queue string, ages map[string]time.Duration, forget []string) error {
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for id, age := range ages {
			p.HSet(ctx, announcedKey(queue), id, int64(age/time.Second))
		}
		if len(forget) > 0 {
			p.HDel(ctx, announcedKey(queue), forget...)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep what was announced: %w", err)
	}
	return nil
}
