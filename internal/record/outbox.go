package record

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// OutboxEntry is the end of a task that is to be published. It is written together
// with the end and holds all there is to publish, because it may have to wait
// longer than the record is kept.
type OutboxEntry struct {
	ID       string
	Type     string
	Outcome  Outcome
	Code     string
	Message  string
	Attempts int
	Ended    time.Time
	// Finished says that the task was enqueued with Notify.
	Finished bool
	// Dead says that the end is published as that of a dead letter.
	Dead bool
	// Traceparent is the trace of the attempt that ended the task; "" if it has none.
	Traceparent string
}

// outboxJSON is an OutboxEntry as the outbox has it.
type outboxJSON struct {
	Type     string
	Code     string
	Message  string
	Outcome  Outcome
	Attempts int
	Ended    int64
	Tell     string
	Trace    string
}

// PendingOutbox lists up to n entries of a queue's outbox, in no order.
func (s *Store) PendingOutbox(ctx context.Context, queue string, n int) ([]OutboxEntry, error) {
	// HSCAN may give some more than it is asked for, and none although there are
	// some: then the next page has them.
	var found []string
	for cursor := uint64(0); ; {
		page, next, err := s.rdb.HScan(ctx, outboxKey(queue), cursor, "", int64(n)).Result()
		if err != nil {
			return nil, fmt.Errorf("read the outbox: %w", err)
		}
		found, cursor = append(found, page...), next
		if cursor == 0 || len(found) >= 2*n {
			break
		}
	}
	entries := make([]OutboxEntry, 0, n)
	for i := 0; i+1 < len(found) && len(entries) < n; i += 2 {
		var v outboxJSON
		if err := json.Unmarshal([]byte(found[i+1]), &v); err != nil {
			return nil, fmt.Errorf("read the outbox entry of %s: %w", found[i], err)
		}
		entries = append(entries, OutboxEntry{
			ID:       found[i],
			Type:     v.Type,
			Outcome:  v.Outcome,
			Code:     v.Code,
			Message:  v.Message,
			Attempts: v.Attempts,
			Ended:    time.UnixMilli(v.Ended),
			Finished: strings.Contains(v.Tell, "finished"),
			Dead:     strings.Contains(v.Tell, "dead"),

			Traceparent: v.Trace,
		})
	}
	return entries, nil
}

// DeleteOutbox deletes the entry of a task whose end was published.
func (s *Store) DeleteOutbox(ctx context.Context, queue, id string) error {
	if err := s.rdb.HDel(ctx, outboxKey(queue), id).Err(); err != nil {
		return fmt.Errorf("delete the outbox entry: %w", err)
	}
	return nil
}

// TrimOutbox deletes the entries of tasks that ended longer than ttl ago, in one page of
// the outbox, and returns where the next page begins. Nobody publishes them: no worker has
// a receiver, or it is down for longer than a delivery is tried.
func (s *Store) TrimOutbox(ctx context.Context, queue string, cursor uint64, ttl time.Duration) (uint64, error) {
	now, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("read Redis' time: %w", err)
	}
	found, next, err := s.rdb.HScan(ctx, outboxKey(queue), cursor, "", page).Result()
	if err != nil {
		return 0, fmt.Errorf("read the outbox: %w", err)
	}
	var old []string
	for i := 0; i+1 < len(found); i += 2 {
		var v outboxJSON
		if err := json.Unmarshal([]byte(found[i+1]), &v); err != nil || time.UnixMilli(v.Ended).Before(now.Add(-ttl)) {
			old = append(old, found[i])
		}
	}
	if len(old) == 0 {
		return next, nil
	}
	if err := s.rdb.HDel(ctx, outboxKey(queue), old...).Err(); err != nil {
		return 0, fmt.Errorf("trim the outbox: %w", err)
	}
	return next, nil
}
