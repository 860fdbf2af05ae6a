package record

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Errors about tasks.
var (
	// ErrNotFound says that there is no record of the task, or no longer.
	ErrNotFound = errors.New("no such task (or its record is no longer kept)")
	// ErrKeyConflict says that the key was used with another payload.
	ErrKeyConflict = errors.New("the key is taken by a task with another payload")
	// ErrAlreadyActive says that an earlier task of the same subject has not ended.
	ErrAlreadyActive = errors.New("an earlier task of the same subject has not ended yet")
	// ErrLate says that the task was to be created by an earlier time.
	ErrLate = errors.New("it is too late to create the task")
	// ErrStale says that another worker took the task over; its result counts.
	ErrStale = errors.New("another worker took this task over")
)

// StartedError says that a task cannot be cancelled any more.
type StartedError struct{ State string }

// Error implements error.
func (e *StartedError) Error() string {
	return "the task cannot be cancelled any more: it is " + e.State
}

// Store reads records. It is safe for concurrent use.
type Store struct {
	rdb   redis.UniversalClient
	salts sync.Map // queue -> salt, perhaps only our proposal
	seen  sync.Map // queue -> seenSalt, as Redis has it
}

// New returns a Store on rdb.
func New(rdb redis.UniversalClient) *Store {
	return &Store{rdb: rdb}
}

// Salt returns the salt of a queue's digests, or a proposal for it: whoever uses a
// digest has its script check the salt, and on a mismatch calls SetSalt.
func (s *Store) Salt(queue string) string {
	if salt, ok := s.salts.Load(queue); ok {
		return salt.(string)
	}
	salt, _ := s.salts.LoadOrStore(queue, strings.ToLower(rand.Text()))
	return salt.(string)
}

// SetSalt stores a queue's salt as Redis has it.
func (s *Store) SetSalt(queue, salt string) {
	s.salts.Store(queue, salt)
}

// InQueue calls do with the queue that a task's ID names. If that finds no such task, or
// the ID names none, do is called with the queue that has the task. The error is do's;
// ErrNotFound, or ErrBadID, if no queue has it.
func (s *Store) InQueue(ctx context.Context, id string, do func(queue string) error) error {
	queue, invalid := QueueOf(id)
	if invalid == nil {
		if err := do(queue); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	queue, err := s.Find(ctx, id)
	if errors.Is(err, ErrNotFound) && invalid != nil {
		return invalid
	}
	if err != nil {
		return err
	}
	return do(queue)
}

// Find returns the queue that has a task whose ID does not name it, because a plain
// asynq client chose the ID. The task need not have a record.
func (s *Store) Find(ctx context.Context, id string) (queue string, err error) {
	queues, err := s.rdb.SMembers(ctx, QueuesKey).Result()
	if err != nil {
		return "", fmt.Errorf("read the queues: %w", err)
	}
	pipe := s.rdb.Pipeline()
	found := make([]*redis.IntCmd, len(queues))
	for i, name := range queues {
		found[i] = pipe.Exists(ctx, Key(name, id), "asynq:{"+name+"}:t:"+id)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return "", fmt.Errorf("look for the task: %w", err)
	}
	for i, name := range queues {
		if found[i].Val() > 0 {
			return name, nil
		}
	}
	return "", ErrNotFound
}

// AllParked counts the tasks of a queue that wait for any blocker.
func (s *Store) AllParked(ctx context.Context, queue string) (int64, error) {
	blockers, err := s.rdb.SMembers(ctx, blockersKey(queue)).Result()
	if err != nil {
		return 0, fmt.Errorf("read the blockers: %w", err)
	}
	if len(blockers) == 0 {
		return 0, nil
	}
	pipe := s.rdb.Pipeline()
	counts := make([]*redis.IntCmd, len(blockers))
	for i, blocker := range blockers {
		counts[i] = pipe.SCard(ctx, parkedKey(queue, blocker))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("count parked tasks: %w", err)
	}
	var sum int64
	for _, n := range counts {
		sum += n.Val()
	}
	return sum, nil
}

// Parked counts the tasks of a queue that wait for a blocker.
func (s *Store) Parked(ctx context.Context, queue, blocker string) (int, error) {
	n, err := s.rdb.SCard(ctx, parkedKey(queue, blocker)).Result()
	if err != nil {
		return 0, fmt.Errorf("count parked tasks: %w", err)
	}
	return int(n), nil
}

// AnyParked reports whether tasks of a queue wait for any of some blockers.
func (s *Store) AnyParked(ctx context.Context, queue string, blockers []string) (bool, error) {
	keys := make([]string, len(blockers))
	for i, name := range blockers {
		keys[i] = parkedKey(queue, name)
	}
	n, err := s.rdb.Exists(ctx, keys...).Result()
	if err != nil {
		return false, fmt.Errorf("look for parked tasks: %w", err)
	}
	return n > 0, nil
}

func millis(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
