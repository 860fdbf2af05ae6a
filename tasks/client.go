package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
)

// Outcome is how a task ended.
type Outcome = record.Outcome

// The outcomes.
const (
	Done       = record.Done
	Declined   = record.Declined
	Superseded = record.Superseded
	Cancelled  = record.Cancelled
	Invalid    = record.Invalid
	Unknown    = record.Unknown
	Expired    = record.Expired
	Failed     = record.Failed
)

// Errors of enqueueing and waiting, for errors.Is.
var (
	// ErrNotFound says that the task does not exist or that its record has expired.
	ErrNotFound = record.ErrNotFound
	// ErrKeyConflict says that the key belongs to a task with another payload.
	ErrKeyConflict = record.ErrKeyConflict
	// ErrKeysRequired says that the workers demand encryption and that the client has no
	// EncryptionKeys. Nothing was stored.
	ErrKeysRequired = broker.ErrKeysRequired
)

// PayloadError names every invalid field of a payload.
type PayloadError = payload.Error

// Problem says which field of a payload is invalid, and which rule it breaks.
type Problem = payload.Problem

// StartedError says that a task cannot be cancelled because it was attempted.
type StartedError = record.StartedError

// UnconfirmedError says that Redis did not confirm that the task was stored. It may
// have been; enqueueing again with the same Key is safe.
type UnconfirmedError = broker.UnconfirmedError

// FullError says that a task was not stored, because too many of its queue wait already
// (QueueLimit) or Redis has less than a tenth of its maxmemory left. Enqueue it later.
type FullError = broker.FullError

// OutcomeError is the error of Wait for every outcome but Done, for errors.As.
type OutcomeError struct {
	ID      string
	Outcome Outcome
	Code    string // the vendor's
	Message string
}

// Error implements error.
func (e *OutcomeError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("task %s ended %s", e.ID, e.Outcome)
	}
	return fmt.Sprintf("task %s ended %s: %s", e.ID, e.Outcome, e.Message)
}

// Client enqueues tasks and waits for them. It is safe for concurrent use, and a
// process needs only one.
type Client struct {
	rdb      redis.UniversalClient
	ring     *seal.Ring
	store    *record.Store
	producer *broker.Producer
	watcher  *record.Watcher
	limit    int // of the tasks of a queue that may wait; 0: none
}

// An OpenOption changes how Open connects.
type OpenOption func(*Client) error

// EncryptionKeys encrypts payloads and decrypts results. keys has the form of the
// worker's ENCRYPTION_KEYS, id:base64(32 bytes)[,older…], with the active key first.
func EncryptionKeys(keys string) OpenOption {
	return func(c *Client) (err error) {
		c.ring, err = seal.Parse(keys)
		return err
	}
}

// QueueLimit has enqueueing fail with a *FullError while n tasks of the queue wait, as the
// setting QUEUE_LIMIT has for `enqueue`; 0 is no limit.
func QueueLimit(n int) OpenOption {
	return func(c *Client) error {
		c.limit = n
		return nil
	}
}

// Open returns a client for the workers' Redis; redisURL has the form of the worker's
// REDIS_URL. It does not wait for Redis to answer.
//
// The first Open silences go-redis's own log lines, which it would write to stderr for
// the whole process: every error is returned. redis.SetLogger after it sends them
// elsewhere.
func Open(redisURL string, opts ...OpenOption) (*Client, error) {
	if err := broker.CheckAsynq(); err != nil {
		return nil, err
	}
	target, err := redisconn.Parse(redisURL)
	if err != nil {
		return nil, err
	}
	redisconn.LogNothingByDefault()
	c := &Client{}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	c.rdb = target.Open(redisconn.Producer)
	broker.Batch(c.rdb)
	c.store = record.New(c.rdb)
	c.producer = broker.NewProducer(c.rdb, c.store, c.ring)
	c.producer.RefuseWhenFull(c.limit)
	c.watcher = record.NewWatcher(c.store)
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	return c.rdb.Close()
}

// An Option changes how a task is enqueued.
type Option func(*broker.Job)

// Key makes the task the only one of its type with that key for 7 days (90 days for
// creates): enqueueing again with the key returns the ticket of the first task. The
// key is released if the task ends Failed, Invalid, Expired or Cancelled, but not if
// it ends Unknown. A payload that is Keyed has its key already; another one beside it
// is refused.
func Key(key string) Option {
	return func(j *broker.Job) {
		j.Key = key
	}
}

// In delays the start by d, at most ten years. If d is not positive, the task may run at
// once.
func In(d time.Duration) Option {
	return func(j *broker.Job) {
		j.In = d
	}
}

// At delays the start until t, which is at most ten years ahead. If t is past, the task
// may run at once.
func At(t time.Time) Option {
	return func(j *broker.Job) {
		j.At = t
	}
}

// UsableFor is how long after its start time the task is worth running, at most ten
// years; 0 leaves it to the task's type. A task that was not run by then ends Expired.
func UsableFor(d time.Duration) Option {
	return func(j *broker.Job) {
		j.ExpireAfter = d
	}
}

// Notify sends a task.finished event when the task ends.
func Notify() Option {
	return func(j *broker.Job) {
		j.Notify = true
	}
}

// Ticket refers to an enqueued task whose result is an R.
type Ticket[R any] struct {
	// ID is the task's ID, as in `enqueue status` and the web UI.
	ID string
	// Duplicate reports that the key belonged to an earlier task, to which the ticket
	// refers. Nothing was enqueued.
	Duplicate bool
	// Outcome is the outcome of a Duplicate that has ended. It is kept as long as the
	// key, which is longer than the task's record.
	Outcome Outcome

	client Enqueuer
}

// Enqueuer is what enqueues and waits: a *Client, or the Client of package taskstest in
// a unit test. Code that takes an Enqueuer instead of a *Client can be tested without
// Redis. Code that needs more of a client, such as Cancel, can declare an interface of
// its own that embeds this one: both clients have the same methods.
type Enqueuer interface {
	EnqueuePayload(ctx context.Context, p Payload, opts ...Option) (*Ticket[json.RawMessage], error)
	EnqueuePayloads(
		ctx context.Context,
		list []Payload,
		options func(i int) []Option,
	) ([]*Ticket[json.RawMessage], []error)
	Wait(ctx context.Context, id string) (*Status, error)
}

// NewTicket returns the ticket of a task that was enqueued elsewhere, such as in an
// earlier request, and whose result is an R.
func NewTicket[R any](c Enqueuer, id string) *Ticket[R] {
	return &Ticket[R]{ID: id, client: c}
}

// Enqueue validates the payload and stores the task in Redis. Once it has returned
// without an error, the task is safe. An invalid payload is a *PayloadError. Blanks
// around a text that somebody may have pasted, such as an ID or a passcode, are
// removed.
func Enqueue[R any](
	ctx context.Context,
	c Enqueuer,
	task Task[R],
	opts ...Option,
) (*Ticket[R], error) {
	task, problems := payload.Check(task)
	if len(problems) > 0 {
		return nil, &PayloadError{Problems: problems}
	}
	untyped, err := c.EnqueuePayload(ctx, task, opts...)
	if err != nil {
		return nil, err
	}
	return typed[R](c, untyped), nil
}

// typed is a ticket whose result is an R.
func typed[R any](c Enqueuer, untyped *Ticket[json.RawMessage]) *Ticket[R] {
	ticket := (*Ticket[R])(untyped)
	ticket.client = c
	return ticket
}

// EnqueuePayload is Enqueue for a payload from Vendors.Decode, which has validated
// it: the type is known only at run time.
func (c *Client) EnqueuePayload(
	ctx context.Context,
	p Payload,
	opts ...Option,
) (*Ticket[json.RawMessage], error) {
	job, err := newJob(p, opts)
	if err != nil {
		return nil, err
	}
	return c.ticket(c.producer.Enqueue(ctx, job))
}

// ticket is what has become of a task.
func (c *Client) ticket(stored broker.Ticket, err error) (*Ticket[json.RawMessage], error) {
	if errors.Is(err, ErrKeyConflict) {
		err = fmt.Errorf("%w (%s)", err, stored.ID)
	}
	if err != nil {
		return nil, err
	}
	ticket := NewTicket[json.RawMessage](c, stored.ID)
	ticket.Duplicate = stored.Duplicate
	ticket.Outcome = stored.Outcome
	return ticket, nil
}

// Keyed is implemented by payloads that contain their key, such as an invoice with
// the caller's reference. That key always counts: a thing must not have two
// identities.
type Keyed interface {
	// Key returns the key, "" if the payload has none.
	Key() string
	// KeyField returns the field that the key is made of, and its text.
	KeyField() (field, text string)
}

// maxKey is the length limit, in bytes, of a key that a caller gives.
const maxKey = 256

// KeyOf returns the key of a task: the payload's own if it contains one, else the
// given key without blanks around it. A given key may repeat the payload's own, or the
// text of its field, but not contradict it; the error is a *PayloadError.
func KeyOf(p Payload, given string) (string, error) {
	key, rule := payload.CleanText(payload.Line, given)
	switch {
	case given != "" && key == "":
		rule = "must not be empty"
	case rule == "" && len(key) > maxKey:
		rule = fmt.Sprintf("must have at most %d bytes", maxKey)
	}
	if keyed, ok := p.(Keyed); ok && keyed.Key() != "" && rule == "" {
		field, text := keyed.KeyField()
		if key != "" && key != keyed.Key() && key != text {
			rule = "contradicts " + field + ", which is the task's key; leave it out"
		}
		key = keyed.Key()
	}
	if rule != "" {
		return "", &PayloadError{Problems: []payload.Problem{{Field: "the key", Rule: rule}}}
	}
	return key, nil
}

// Check returns the error with which EnqueuePayload would refuse a payload from
// Vendors.Decode, as far as that is known without Redis.
func Check(p Payload, opts ...Option) error {
	_, err := newJob(p, opts)
	return err
}

// newJob returns what is stored of a task. Its error is a *PayloadError if the payload
// or the key is refused.
func newJob(p Payload, opts []Option) (broker.Job, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return broker.Job{}, fmt.Errorf("encode the payload: %w", err)
	}
	job := broker.Job{
		Type:    p.Type(),
		Payload: raw,
		Policy:  p.Policy(),
	}
	for _, opt := range opts {
		opt(&job)
	}
	// A free body may hold JSON of its caller's own, and any text what is not Unicode.
	if !job.Decoded {
		if problems := payload.UnfaithfulEncoding(raw); len(problems) > 0 {
			return broker.Job{}, &PayloadError{Problems: problems}
		}
	}
	if len(raw) > payload.MaxSize {
		rule := fmt.Sprintf("the payload has %d bytes, at most %d are allowed", len(raw), payload.MaxSize)
		return broker.Job{}, &PayloadError{Problems: []payload.Problem{{Rule: rule}}}
	}
	if problems := timingProblems(job); len(problems) > 0 {
		return broker.Job{}, &PayloadError{Problems: problems}
	}
	job.Key, err = KeyOf(p, job.Key)
	return job, err
}

// maxSpan is how far ahead a task may start, and how long it may be usable then.
const maxSpan = 10 * 365 * 24 * time.Hour

func timingProblems(job broker.Job) []payload.Problem {
	var problems []payload.Problem
	if job.In > maxSpan || time.Until(job.At) > maxSpan {
		problems = append(problems, payload.Problem{Field: "the start", Rule: "must be within ten years"})
	}
	switch {
	case job.ExpireAfter < 0:
		problems = append(problems, payload.Problem{Field: "the usable time", Rule: "must not be negative"})
	case job.ExpireAfter > maxSpan:
		problems = append(problems, payload.Problem{Field: "the usable time", Rule: "must be within ten years"})
	}
	return problems
}

// Wait returns the result once the task has ended, or ctx's error if ctx is done
// first. The error is an *OutcomeError for every outcome but Done; a Declined task may
// have a result as well.
func (t *Ticket[R]) Wait(ctx context.Context) (R, error) {
	var result R
	status, err := t.client.Wait(ctx, t.ID)
	if err != nil {
		return result, err
	}
	if len(status.Data) > 0 {
		if err := json.Unmarshal(status.Data, &result); err != nil {
			return result, fmt.Errorf("decode the result of %s: %w", t.ID, err)
		}
	}
	if status.Outcome != Done {
		return result, &OutcomeError{
			ID:      t.ID,
			Outcome: status.Outcome,
			Code:    status.Code,
			Message: status.Message,
		}
	}
	return result, nil
}

// Cancel cancels a task that was never attempted. Its error is ErrNotFound or a
// *StartedError if that is impossible.
func (c *Client) Cancel(ctx context.Context, id string) error {
	if err := c.producer.Cancel(ctx, id); err != nil {
		return err
	}
	// It is done; a line that is missing in the audit does not undo it.
	_ = c.store.Act(ctx, record.Action{Who: record.WhoOf(ctx), Verb: "cancel", Target: id})
	return nil
}
