package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
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
	// ErrOverlap: a task with the same Alone has not ended yet.
	ErrOverlap = errors.New("an earlier task of the same subject has not ended yet")
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
	Notify  bool
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
// It returns ErrKeyConflict if that one has another payload.
func (s *Store) Create(ctx context.Context, t NewTask) (Created, error) {
	id := NewID(t.Queue)
	var at int64
	if !t.At.IsZero() {
		at = t.At.UnixMilli()
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
			t.KeyLife.Milliseconds(), spare.Milliseconds(), flag(t.Notify), t.Trail, flag(t.Alone != ""), t.Held))
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
			return Created{ID: reply[1]}, ErrOverlap
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

// Verdict is Begin's answer.
type Verdict string

// The verdicts of Begin.
const (
	// Go: the claim is ours; call the vendor.
	Go Verdict = "go"
	// AlreadyEnded: an outcome stands; repeat it, call nobody.
	AlreadyEnded Verdict = "ended"
	// Busy: another copy holds the claim; come back after Wait.
	Busy Verdict = "busy"
	// Early: not due yet; come back after Wait.
	Early Verdict = "early"
	// Abandoned: the claim is ours, but the worker that had it before died while
	// calling, and the task is not repeatable.
	Abandoned Verdict = "abandoned"
	// OutOfTime: the claim is ours, but the time budget is spent.
	OutOfTime Verdict = "expired"
	// Crashed: the claim is ours, but the task has killed its worker too often.
	Crashed Verdict = "crashed"
	// Overtaken: the claim is ours, but a newer intent for the same subject has
	// made the task wrong to run.
	Overtaken Verdict = "superseded"
	// Lost: the claim is ours, but there was no record: Redis has forgotten what
	// happened before.
	Lost Verdict = "lost"
)

// Claim is what Begin asks for.
type Claim struct {
	ID, Type, Owner string
	// For is how long the attempt may take at most.
	For        time.Duration
	Repeatable bool
	// Expires is when the task's time is up, from its header.
	Expires time.Time
	// Findable: after a try that may have happened, the task can look whether it
	// did, and need not end unknown.
	Findable bool
	// Intent orders the tasks that open and close the same subject's access.
	Intent Intent
	// Nonce makes it the same claim if Begin has to be asked again, because Redis
	// did not answer: it may have carried out the first. A fresh one if unset.
	Nonce string
	// DeadOwner is an owner known to have died; its claim does not count as
	// living.
	DeadOwner string
}

// Intent says that a task opens or closes something, such as a user's access.
// Tasks with the same subject in the same queue never run at once; one that
// opens and was enqueued before one that closes had started is superseded.
type Intent struct {
	Subject string // "" for none
	Role    Role
}

// Role is what a task does to its subject.
type Role string

// The roles.
const (
	Opens  Role = "opens"
	Closes Role = "closes"
)

// Grant is what Begin answers.
type Grant struct {
	Verdict  Verdict
	Fence    string
	Attempts int // counted ones before this
	Now, Due time.Time
	// Wait is how long to stay away (Busy, Early); Owner holds the claim (Busy).
	Wait  time.Duration
	Owner string
	// Outcome, Code and Message are set with AlreadyEnded.
	Outcome       Outcome
	Code, Message string
	// Reconfirm: an opening that this closing overtook ended unknown, and may
	// take effect late; the closing has to be confirmed once more.
	Reconfirm bool
	// InDoubt: an earlier try of a findable task may have happened. Lookups
	// counts how often it was looked for since, and not found.
	InDoubt bool
	Lookups int

	keyRecord, taskType string
}

// Begin claims the task for one attempt.
func (s *Store) Begin(ctx context.Context, c Claim) (Grant, error) {
	queue, err := QueueOf(c.ID)
	if err != nil {
		return Grant{}, err
	}
	record := taskKey(queue, c.ID)
	intent, role := record, ""
	if c.Intent.Subject != "" {
		salt, err := s.sharedSalt(ctx, queue)
		if err != nil {
			return Grant{}, err
		}
		intent, role = prefix(queue)+"intent:"+digest(salt, "intent", c.Intent.Subject), string(c.Intent.Role)
	}
	reply, err := strs(beginScript.Run(ctx, s.rdb, []string{record, intent},
		c.Owner, c.For.Milliseconds(), flag(c.Repeatable), c.Expires.UnixMilli(), c.Type, c.DeadOwner, cmp.Or(c.Nonce, rand.Text()), c.ID, role, flag(c.Findable)))
	if err != nil {
		return Grant{}, fmt.Errorf("claim the task: %w", err)
	}
	g := Grant{Verdict: Verdict(reply[0]), Attempts: atoi(reply[2]), Now: millis(reply[3]), Due: millis(reply[4]), taskType: c.Type}
	switch g.Verdict {
	case Busy:
		g.Wait, g.Owner = time.Duration(atoi(reply[1]))*time.Millisecond, reply[5]
	case Early:
		g.Wait = time.Duration(atoi(reply[1])) * time.Millisecond
	case AlreadyEnded:
		g.Outcome, g.Code, g.Message = Outcome(reply[6]), reply[7], reply[8]
	default:
		g.Fence, g.keyRecord, g.Reconfirm = reply[1], reply[5], reply[9] == "1"
		g.InDoubt, g.Lookups = reply[10] != "", atoi(reply[10])
	}
	return g, nil
}

// Attempt is one entry of a task's history.
type Attempt struct {
	At      time.Time
	Took    time.Duration
	Class   string // the outcome, or the kind of the fault
	Status  int    // HTTP status, 0 if there was none
	Code    string // the vendor's
	Message string
}

type attemptJSON struct {
	At      int64  `json:"at"`
	Took    int64  `json:"ms"`
	Class   string `json:"class"`
	Status  int    `json:"status,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Result is what Finish writes.
type Result struct {
	// Attempt is nil if the vendor was not called.
	Attempt *Attempt
	// Counted: the attempt counts against the task's budget of attempts.
	Counted bool
	// State is Retrying or Parked with Wait, or Ended with Outcome.
	State State
	Wait  time.Duration
	// ParkedFor names the credential that a parked task waits for, if it is
	// known, so that WakeParked finds it.
	ParkedFor     string
	Outcome       Outcome
	Code, Message string
	// Data is the result, sealed by the caller.
	Data []byte
	// Keep is how long the record is kept after the end.
	Keep time.Duration
	// Confirmed: the vendor did what was asked, though the task goes on
	// (Grant.Reconfirm).
	Confirmed bool
	// InDoubt and Lookups are kept for the next Grant.
	InDoubt bool
	Lookups int
}

// deadKept is how many dead letters a queue keeps, about.
const deadKept = 100_000

// Finish writes what became of the attempt that g granted. It returns ErrStale
// if another worker took the task over meanwhile.
func (s *Store) Finish(ctx context.Context, id string, g Grant, r Result) error {
	queue, err := QueueOf(id)
	if err != nil {
		return err
	}
	record, keyRecord, entry := taskKey(queue, id), g.keyRecord, ""
	if keyRecord == "" {
		keyRecord = record
	}
	if a := r.Attempt; a != nil {
		raw, err := json.Marshal(attemptJSON{At: a.At.UnixMilli(), Took: a.Took.Milliseconds(), Class: a.Class, Status: a.Status, Code: a.Code, Message: a.Message})
		if err != nil {
			return fmt.Errorf("encode the attempt: %w", err)
		}
		entry = string(raw)
	}
	parked := record
	if r.State == Parked && r.ParkedFor != "" {
		parked = parkedKey(queue, r.ParkedFor)
	}
	kept, doubt := 0, ""
	if r.InDoubt {
		doubt = strconv.Itoa(r.Lookups)
	}
	if r.Outcome.Archived() {
		kept = deadKept
	}
	n, err := finishScript.Run(ctx, s.rdb, []string{record, keyRecord, parked, deadKey(queue), noticeKey(queue)},
		id, g.Fence, entry, flag(r.Counted), string(r.State), string(r.Outcome), r.Code, r.Message, r.Data,
		r.Keep.Milliseconds(), flag(r.Outcome.FreesKey()), r.Wait.Milliseconds(), doneChannel(id),
		kept, g.taskType, flag(r.Confirmed), doubt).Int()
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if n == 0 {
		return ErrStale
	}
	return nil
}

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
