package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

func isNil(err error) bool { return errors.Is(err, redis.Nil) }

// DeadLetter is a task that ended archived.
type DeadLetter struct {
	ID, Type      string
	Outcome       Outcome
	Code, Message string
	Attempts      int
	At            time.Time
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
			ID: text(v, "id"), Type: text(v, "type"), Outcome: Outcome(text(v, "outcome")), Code: text(v, "code"),
			Message: text(v, "message"), Attempts: atoi(text(v, "attempts")), At: at,
		})
	})
}

// Notice is the end of a task that somebody is to hear of. It is written with
// the end itself, and holds all there is to tell, because it may have to wait
// longer than the record is kept.
type Notice struct {
	ID, Type      string
	Outcome       Outcome
	Code, Message string
	Attempts      int
	Ended         time.Time
	// Finished: the task was enqueued with Notify. Dead: it is told as a dead
	// letter (Result.TellDead).
	Finished, Dead bool
}

// PendingNotices lists up to n notices of a queue that were not sent yet, in no
// order.
func (s *Store) PendingNotices(ctx context.Context, queue string, n int) ([]Notice, error) {
	// HSCAN may give some more than it is asked for, and none although there are
	// some: then the next page has them.
	var found []string
	for cursor := uint64(0); ; {
		page, next, err := s.rdb.HScan(ctx, noticeKey(queue), cursor, "", int64(n)).Result()
		if err != nil {
			return nil, fmt.Errorf("read the notices to send: %w", err)
		}
		found, cursor = append(found, page...), next
		if cursor == 0 || len(found) >= 2*n {
			break
		}
	}
	notices := make([]Notice, 0, n)
	for i := 0; i+1 < len(found) && len(notices) < n; i += 2 {
		var v struct {
			Type, Code, Message string
			Outcome             Outcome
			Attempts            int
			Ended               int64
			Tell                string
		}
		if err := json.Unmarshal([]byte(found[i+1]), &v); err != nil {
			return nil, fmt.Errorf("read the notice of %s: %w", found[i], err)
		}
		notices = append(notices, Notice{
			ID: found[i], Type: v.Type, Outcome: v.Outcome, Code: v.Code, Message: v.Message, Attempts: v.Attempts, Ended: time.UnixMilli(v.Ended),
			// One that does not say what it tells was asked for.
			Finished: v.Tell == "" || strings.Contains(v.Tell, "finished"), Dead: strings.Contains(v.Tell, "dead"),
		})
	}
	return notices, nil
}

// NoticeSent takes a notice off that list.
func (s *Store) NoticeSent(ctx context.Context, queue, id string) error {
	if err := s.rdb.HDel(ctx, noticeKey(queue), id).Err(); err != nil {
		return fmt.Errorf("mark the notice as sent: %w", err)
	}
	return nil
}

// TrailEntry is one line of a queue's append-only trail.
type TrailEntry struct {
	ID, Type string
	// Event is asked, attempt or ended.
	Event string
	// Subject is set with asked, sealed as the producer did.
	Subject       []byte
	Outcome       Outcome // with ended
	Code, Message string
	At            time.Time
}

// EachTrailEntry calls do for each line of a queue's trail, the oldest first,
// until do returns an error.
func (s *Store) EachTrailEntry(ctx context.Context, queue string, do func(TrailEntry) error) error {
	return s.eachEntry(ctx, trailKey(queue), func(at time.Time, v map[string]any) error {
		return do(TrailEntry{
			ID: text(v, "id"), Type: text(v, "type"), Event: text(v, "event"), Subject: []byte(text(v, "subject")),
			Outcome: Outcome(text(v, "outcome")), Code: text(v, "code"), Message: text(v, "message"), At: at,
		})
	})
}

// Unconfirmed lists the tasks of a trail that were to run before the given
// time and are neither done nor cancelled, with their start times.
func (s *Store) Unconfirmed(ctx context.Context, queue string, before time.Time) (map[string]time.Time, error) {
	found, err := s.rdb.ZRangeByScoreWithScores(ctx, trailOpenKey(queue), &redis.ZRangeBy{
		Min: "-inf", Max: fmt.Sprint(before.UnixMilli()), Count: 1000,
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
