package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Errors of the Store.
var (
	// ErrNotFound: no record of that task, or no longer.
	ErrNotFound = errors.New("no such task (or its record is no longer kept)")
	// ErrKeyConflict: the key was used with another payload.
	ErrKeyConflict = errors.New("the key is taken by a task with another payload")
	// ErrAlreadyActive: a task with the same Alone has not ended yet.
	ErrAlreadyActive = errors.New("an earlier task of the same subject has not ended yet")
	// ErrLate: the task was to be created by an earlier time.
	ErrLate = errors.New("it is too late to create the task")
	// ErrStale: another worker took the task over; its word counts.
	ErrStale = errors.New("another worker took this task over")
)

// StartedError says that a task cannot be cancelled any more.
type StartedError struct{ State string }

// Error implements error.
func (e *StartedError) Error() string {
	return "the task cannot be cancelled any more: it is " + e.State
}

// spare is how long a record outlives its time budget if no worker ever ends
// the task.
const spare = 48 * time.Hour

// Store reads and writes records. It is safe for concurrent use.
type Store struct {
	rdb       redis.UniversalClient
	salts     sync.Map // queue -> salt, perhaps only our proposal
	confirmed sync.Map // queue -> salt as Redis has it
}

// New returns a Store on rdb.
func New(rdb redis.UniversalClient) *Store { return &Store{rdb: rdb} }

// Parked counts the tasks of a queue that wait for a credential.
func (s *Store) Parked(ctx context.Context, queue, credential string) (int, error) {
	n, err := s.rdb.SCard(ctx, parkedKey(queue, credential)).Result()
	if err != nil {
		return 0, fmt.Errorf("count parked tasks: %w", err)
	}
	return int(n), nil
}

// WakeParked takes up to n tasks off the list of those that wait for a
// credential. Each is given to one caller only; whoever it is must make it run.
func (s *Store) WakeParked(ctx context.Context, queue, credential string, n int) ([]string, error) {
	ids, err := s.rdb.SPopN(ctx, parkedKey(queue, credential), int64(n)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("take parked tasks: %w", err)
	}
	return ids, nil
}

// Cancel ends a task that was never attempted. It returns ErrNotFound or a
// *StartedError if there is nothing to cancel. keep is how long the record stays.
func (s *Store) Cancel(ctx context.Context, id string, keep time.Duration) error {
	queue, err := QueueOf(id)
	if err != nil {
		return err
	}
	record := taskKey(queue, id)
	keyRecord, err := s.rdb.HGet(ctx, record, "key").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the record: %w", err)
	}
	if keyRecord == "" {
		keyRecord = record
	}
	said, err := cancelScript.Run(ctx, s.rdb, []string{record, keyRecord, noticeKey(queue)}, id, keep.Milliseconds(), doneChannel(id)).Text()
	switch {
	case err != nil:
		return fmt.Errorf("cancel the task: %w", err)
	case said == "gone":
		return ErrNotFound
	case said != string(Cancelled):
		return &StartedError{State: said}
	}
	return nil
}

func strs(cmd *redis.Cmd) ([]string, error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return nil, err
	}
	return append(reply, make([]string, 11)...), nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func millis(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
