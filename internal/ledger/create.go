package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// NewTask is what Create writes.
type NewTask struct {
	Queue, Type string
	// Key makes the task the only one of its type with that key; "" for none.
	Key string
	// Payload is the plain payload; only its digest is kept, and only with a Key.
	Payload []byte
	// At is the earliest start; if zero, Delay from now counts.
	At    time.Time
	Delay time.Duration
	// Usable is how long after its start time the task may still run.
	Usable time.Duration
	// KeyLife is how long the key is remembered.
	KeyLife time.Duration
	// By is the last moment, by Redis' clock, at which the task may be created; zero
	// for none. Whoever asks later has slept over it.
	By     time.Time
	Notify bool
	// Alone, if not "", lets the task be created only if no task of its type with
	// the same Alone is still under way.
	Alone string
	// Held is what the keys begin with under which the queue holds its tasks. With
	// it, an earlier task that has never got there ends to count with its time.
	Held string
	// Trail, if not nil, is the subject (sealed by the caller) under which the
	// queue's append-only trail keeps what becomes of the task.
	Trail []byte
}

// Created says what Create found or wrote.
type Created struct {
	ID string
	// Duplicate: the key belongs to this earlier task; nothing was written.
	Duplicate bool
	// Started: a worker has had the earlier task in hand, so that it need not be
	// put into the queue again.
	Started bool
	// Outcome of the earlier task, if it has ended.
	Outcome               Outcome
	Created, Due, Expires time.Time
}

// Create writes the record of a new task, or finds the one that has its key.
// It returns ErrKeyConflict if that one has another payload, ErrAlreadyActive if
// another task stands where it must be alone, and ErrLate if it comes too late.
func (s *Store) Create(ctx context.Context, t NewTask) (Created, error) {
	id := NewID(t.Queue)
	var at, by int64
	if !t.At.IsZero() {
		at = t.At.UnixMilli()
	}
	if !t.By.IsZero() {
		by = t.By.UnixMilli()
	}
	for range 3 {
		record, keyed, keyRecord, sum := taskKey(t.Queue, id), "0", taskKey(t.Queue, id), ""
		salt := s.salt(t.Queue)
		if t.Key != "" {
			keyed = "1"
			keyRecord = prefix(t.Queue) + "key:" + digest(salt, "key", t.Type, t.Key)
			sum = digest(salt, "payload", t.Type, string(t.Payload))
		}
		alone := record
		if t.Alone != "" {
			alone = prefix(t.Queue) + "alone:" + digest(salt, "alone", t.Type, t.Alone)
		}
		reply, err := strs(createScript.Run(ctx, s.rdb,
			[]string{record, saltKey(t.Queue), keyRecord, sequenceKey(t.Queue), trailKey(t.Queue), alone},
			id, t.Type, salt, sum, keyed, at, t.Delay.Milliseconds(), t.Usable.Milliseconds(),
			t.KeyLife.Milliseconds(), spare.Milliseconds(), flag(t.Notify), t.Trail, flag(t.Alone != ""), t.Held, by))
		if err != nil {
			return Created{}, fmt.Errorf("write the task's record: %w", err)
		}
		switch reply[0] {
		case "salt": // somebody else's salt was there first
			s.salts.Store(t.Queue, reply[1])
			continue
		case "conflict":
			return Created{ID: reply[1]}, ErrKeyConflict
		case "overlap":
			return Created{ID: reply[1]}, ErrAlreadyActive
		case "late":
			return Created{}, ErrLate
		}
		return Created{
			ID: reply[1], Duplicate: reply[0] == "duplicate", Started: reply[5] == "1", Outcome: Outcome(reply[6]),
			Created: millis(reply[2]), Due: millis(reply[3]), Expires: millis(reply[4]),
		}, nil
	}
	return Created{}, errors.New("write the task's record: the salt in Redis keeps changing")
}

func (s *Store) salt(queue string) string {
	if salt, ok := s.salts.Load(queue); ok {
		return salt.(string)
	}
	salt, _ := s.salts.LoadOrStore(queue, NewID("salt"))
	return salt.(string)
}

// sharedSalt is the queue's salt as Redis has it.
func (s *Store) sharedSalt(ctx context.Context, queue string) (string, error) {
	if salt, ok := s.confirmed.Load(queue); ok {
		return salt.(string), nil
	}
	if err := s.rdb.SetNX(ctx, saltKey(queue), s.salt(queue), 0).Err(); err != nil {
		return "", fmt.Errorf("write the salt: %w", err)
	}
	salt, err := s.rdb.Get(ctx, saltKey(queue)).Result()
	if err != nil {
		return "", fmt.Errorf("read the salt: %w", err)
	}
	s.salts.Store(queue, salt)
	s.confirmed.Store(queue, salt)
	return salt, nil
}
