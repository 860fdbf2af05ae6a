package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/ledger"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
)

// Outcome is how a task ended.
type Outcome = ledger.Outcome

// The outcomes.
const (
	Done       = ledger.Done
	Declined   = ledger.Declined
	Superseded = ledger.Superseded
	Cancelled  = ledger.Cancelled
	Invalid    = ledger.Invalid
	Unknown    = ledger.Uncertain
	Expired    = ledger.Expired
	Failed     = ledger.Failed
)

// Errors of enqueueing and waiting; errors.Is finds them.
var (
	// ErrNotFound: no such task, or its record is no longer kept.
	ErrNotFound = ledger.ErrNotFound
	// ErrKeyConflict: the key belongs to a task with another payload.
	ErrKeyConflict = ledger.ErrKeyConflict
	// ErrUnknownType: no task type has that name.
	ErrUnknownType = errors.New("no such task type")
)

// PayloadError names every field of a payload that is at fault.
type PayloadError = payload.Error

// StartedError says that a task was attempted and cannot be cancelled any more.
type StartedError = ledger.StartedError

// UnconfirmedError says that Redis did not confirm that the task was stored.
type UnconfirmedError = queue.UnconfirmedError

// OutcomeError is how Wait reports every end but Done; errors.As finds it.
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

// Client enqueues tasks and waits for them. It is safe for concurrent use; one
// is enough for a process.
type Client struct {
	rdb      redis.UniversalClient
	ring     *seal.Ring
	store    *ledger.Store
	producer *queue.Producer
	watcher  *ledger.Watcher
}

// An OpenOption changes how Open connects.
type OpenOption func(*Client) error

// EncryptionKeys seals payloads and opens results, as the worker's
// ENCRYPTION_KEYS does: id:base64(32 bytes), the active key first.
func EncryptionKeys(keys string) OpenOption {
	return func(c *Client) (err error) {
		c.ring, err = seal.Parse(keys)
		return err
	}
}

// Open connects to the Redis that the workers use; redisURL has the form of
// REDIS_URL. It does not wait for Redis to answer.
func Open(redisURL string, opts ...OpenOption) (*Client, error) {
	target, err := redisconn.Parse(redisURL)
	if err != nil {
		return nil, err
	}
	c := &Client{}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	c.rdb = target.Open(redisconn.Producer)
	c.store = ledger.New(c.rdb)
	c.producer = queue.NewProducer(c.rdb, c.store, c.ring)
	c.watcher = ledger.NewWatcher(c.store)
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	return c.rdb.Close()
}

// An Option changes one enqueueing.
type Option func(*queue.Job)

// Key makes the task the only one of its type with that key, for 7 days
// (creates: 90): enqueueing it again finds the first task. The key is free
// again if the task ends failed, invalid, expired or cancelled, but not after
// unknown.
func Key(key string) Option {
	return func(j *queue.Job) {
		j.Key = key
	}
}

// In delays the start.
func In(d time.Duration) Option {
	return func(j *queue.Job) {
		j.In = d
	}
}

// At delays the start until t.
func At(t time.Time) Option {
	return func(j *queue.Job) {
		j.At = t
	}
}

// UsableFor bounds how long after its start time the task is worth running;
// then it ends expired.
func UsableFor(d time.Duration) Option {
	return func(j *queue.Job) {
		j.Usable = d
	}
}

// Notify has a task.finished event sent when the task ends.
func Notify() Option {
	return func(j *queue.Job) {
		j.Notify = true
	}
}

// Ticket names an enqueued task.
type Ticket[R any] struct {
	// ID names the task in `enqueue status` and the web UI.
	ID string
	// Duplicate: the key belonged to this earlier task; nothing was enqueued.
	Duplicate bool
	// Outcome of a Duplicate that has ended. It is known for as long as the key
	// is, which is longer than the task's record.
	Outcome Outcome

	client *Client
}

// Enqueue checks the payload and stores the task in Redis; when it returns,
// the task is safe. A payload that breaks a rule is a *PayloadError.
func Enqueue[R any](
	ctx context.Context,
	c *Client,
	task Task[R],
	opts ...Option,
) (*Ticket[R], error) {
	if problems := payload.Validate(task, nil); len(problems) > 0 {
		return nil, &PayloadError{Problems: problems}
	}
	ticket, err := c.enqueue(ctx, task, opts)
	if err != nil {
		return nil, err
	}
	return &Ticket[R]{
		ID:        ticket.ID,
		Duplicate: ticket.Duplicate,
		Outcome:   ticket.Outcome,
		client:    c,
	}, nil
}

// EnqueueJSON is Enqueue for a task type known by name only. The payload is
// decoded strictly: an unknown field is refused.
func (c *Client) EnqueueJSON(
	ctx context.Context,
	taskType string,
	raw []byte,
	opts ...Option,
) (*Ticket[json.RawMessage], error) {
	p, err := DecodePayload(taskType, raw)
	if err != nil {
		return nil, err
	}
	ticket, err := c.enqueue(ctx, p, opts)
	if err != nil {
		return nil, err
	}
	return &Ticket[json.RawMessage]{
		ID:        ticket.ID,
		Duplicate: ticket.Duplicate,
		Outcome:   ticket.Outcome,
		client:    c,
	}, nil
}

// DecodePayload reads and checks a payload of a type known by name, one that
// can be enqueued.
func DecodePayload(taskType string, raw []byte) (queue.Payload, error) {
	for _, e := range catalogue {
		switch {
		case e.Type != taskType:
		case e.Internal:
			return nil, &PayloadError{
				Problems: []payload.Problem{
					{
						Rule: taskType + " is internal: Errand enqueues it itself, nobody else can",
					},
				},
			}
		default:
			return e.decode(raw)
		}
	}
	return nil, ErrUnknownType
}

func (c *Client) enqueue(
	ctx context.Context,
	p queue.Payload,
	opts []Option,
) (queue.Ticket, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return queue.Ticket{}, fmt.Errorf("encode the payload: %w", err)
	}
	if len(raw) > payload.MaxSize {
		return queue.Ticket{}, &PayloadError{
			Problems: []payload.Problem{
				{
					Rule: fmt.Sprintf(
						"the payload has %d bytes, at most %d are allowed",
						len(raw),
						payload.MaxSize,
					),
				},
			},
		}
	}
	job := queue.Job{
		Type:     p.Type(),
		Payload:  raw,
		Defaults: p.Defaults(),
		Key:      keyOf(p),
	}
	for _, opt := range opts {
		opt(&job)
	}
	ticket, err := c.producer.Enqueue(ctx, job)
	if errors.Is(err, ErrKeyConflict) {
		err = fmt.Errorf("%w (%s)", err, ticket.ID)
	}
	return ticket, err
}

// Wait returns the result once the task has ended, or ctx's error if that comes
// first. Any end but Done is an *OutcomeError; a declined task may have a
// result as well.
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

// Status is what is known of a task.
type Status struct {
	*ledger.Record
	// Data is the result as JSON, nil if there is none.
	Data json.RawMessage
}

// Status reads what is known of a task; ErrNotFound if there is no record.
func (c *Client) Status(ctx context.Context, id string) (*Status, error) {
	record, err := c.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.open(record)
}

// Wait returns the status once the task has ended. If ctx ends first, it
// returns the last status seen (nil if there was none) with ctx's error.
func (c *Client) Wait(ctx context.Context, id string) (*Status, error) {
	record, err := c.watcher.Wait(ctx, id)
	if record == nil {
		return nil, err
	}
	status, openErr := c.open(record)
	return status, errors.Join(err, openErr)
}

func (c *Client) open(record *ledger.Record) (*Status, error) {
	data, err := queue.OpenResult(c.ring, record)
	if err != nil {
		return &Status{
			Record: record,
		}, fmt.Errorf(
			"open the result of %s: %w",
			record.ID,
			err,
		)
	}
	return &Status{Record: record, Data: data}, nil
}

// Cancel ends a task that was never attempted. It returns ErrNotFound or a
// *StartedError if it cannot.
func (c *Client) Cancel(ctx context.Context, id string) error {
	if err := c.store.Cancel(ctx, id, queue.DefaultKeep); err != nil {
		return err
	}
	c.producer.Forget(id)
	return nil
}
