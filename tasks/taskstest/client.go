package taskstest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// Client is a client in memory. It has the methods of a *tasks.Client, and those with
// which a test looks at its tasks and ends them. It is safe for concurrent use.
type Client struct {
	mu        sync.Mutex
	list      []*task // in the order in which they were stored
	byID      map[string]*task
	byKey     map[key]*holder
	closed    map[subject]int // the latest closing that has started, as a place in list
	bound     map[string]bound
	onEnqueue func(Task)
}

var _ tasks.Enqueuer = (*Client)(nil)

// New returns a Client without tasks.
func New() *Client {
	return &Client{
		byID:   map[string]*task{},
		byKey:  map[key]*holder{},
		closed: map[subject]int{},
		bound:  map[string]bound{},
	}
}

// Close does nothing.
func (*Client) Close() error {
	return nil
}

// Task is a task as it was enqueued.
type Task struct {
	ID   string
	Type string
	// Payload is the payload as the worker would decode it. Of a free body, numbers are a
	// json.Number.
	Payload tasks.Payload
	// Key is the task's key, also if the payload contains it; empty if it has none.
	Key    string
	Notify bool
	// Created is when the task was stored. It may run between Due and Expires.
	Created time.Time
	Due     time.Time
	Expires time.Time
}

// key is a producer's key of a type.
type key struct{ queue, taskType, text string }

// holder is the task that a key leads to.
type holder struct {
	task    *task
	payload string
	outcome tasks.Outcome
	until   time.Time // zero until the task has ended
}

// subject is what an intent opens or closes.
type subject struct{ queue, text string }

// task is a task with what became of it.
type task struct {
	Task
	status tasks.Status // State is computed
	raw    []byte
	policy tasks.Policy
	place  int // in Client.list
	by     key
	ended  chan struct{} // closed at its end

	running bool
	parked  bool
	counted int // attempts
	inDoubt bool
	lookups int
	lookup  string // where the latest one was
}

// EnqueuePayload is that of *tasks.Client.
func (c *Client) EnqueuePayload(
	ctx context.Context,
	p tasks.Payload,
	opts ...tasks.Option,
) (*tasks.Ticket[json.RawMessage], error) {
	if err := tasks.Check(p, opts...); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, &tasks.UnconfirmedError{Err: fmt.Errorf("store the task: %w", err)}
	}
	var job broker.Job
	for _, opt := range opts {
		opt(&job)
	}
	job.Policy = p.Policy().WithDefaults()
	if job.Key, err = tasks.KeyOf(p, job.Key); err != nil {
		return nil, err
	}
	t, duplicate, err := c.store(newTask(p, raw, job))
	if err != nil {
		return nil, err
	}
	if !duplicate {
		c.tell(t.Task)
	}
	return c.ticket(t, duplicate), nil
}

// EnqueuePayloads is that of *tasks.Client.
func (c *Client) EnqueuePayloads(
	ctx context.Context,
	list []tasks.Payload,
	options func(i int) []tasks.Option,
) ([]*tasks.Ticket[json.RawMessage], []error) {
	tickets := make([]*tasks.Ticket[json.RawMessage], len(list))
	faults := make([]error, len(list))
	for i, p := range list {
		var opts []tasks.Option
		if options != nil {
			opts = options(i)
		}
		tickets[i], faults[i] = c.EnqueuePayload(ctx, p, opts...)
	}
	return tickets, faults
}

func newTask(p tasks.Payload, raw []byte, job broker.Job) *task {
	now := time.Now().Truncate(time.Millisecond)
	due := now.Add(job.In)
	if !job.At.IsZero() {
		due = job.At.Truncate(time.Millisecond)
	}
	if due.Before(now) {
		due = now
	}
	usable := job.Policy.Budget
	if job.ExpireAfter > 0 {
		usable = job.ExpireAfter
	}
	t := &task{
		Task: Task{
			ID:      record.NewID(job.Policy.Queue),
			Type:    p.Type(),
			Payload: decoded(p, raw),
			Key:     job.Key,
			Notify:  job.Notify,
			Created: now,
			Due:     due,
			Expires: due.Add(usable.Truncate(time.Millisecond)),
		},
		raw:    raw,
		policy: job.Policy,
		by:     key{job.Policy.Queue, p.Type(), job.Key},
		ended:  make(chan struct{}),
	}
	t.status = tasks.Status{
		ID:      t.ID,
		Type:    t.Type,
		Queue:   job.Policy.Queue,
		By:      job.By,
		Created: t.Created,
		Due:     t.Due,
		Expires: t.Expires,
	}
	return t
}

// decoded returns a payload as a worker decodes it, so that nobody can change the task by
// what p refers to.
func decoded(p tasks.Payload, raw []byte) tasks.Payload {
	into := reflect.New(reflect.TypeOf(p))
	if payload.Decode(raw, into.Interface()) != nil {
		return p
	}
	return into.Elem().Interface().(tasks.Payload)
}

// store adds a task unless its key leads to another one, which it then returns.
func (c *Client) store(t *task) (stored *task, duplicate bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.holder(t.by, t.Created); h != nil {
		if h.payload != string(t.raw) {
			return nil, false, fmt.Errorf("%w (%s)", tasks.ErrKeyConflict, h.task.ID)
		}
		return h.task, true, nil
	}
	t.place = len(c.list)
	c.list = append(c.list, t)
	c.byID[t.ID] = t
	if t.Key != "" {
		c.byKey[t.by] = &holder{task: t, payload: string(t.raw)}
	}
	return t, false, nil
}

// holder returns the task that a key leads to, nil if the key is free.
func (c *Client) holder(k key, now time.Time) *holder {
	h := c.byKey[k]
	if h == nil || k.text == "" {
		return nil
	}
	c.expire(h.task, now)
	if h = c.byKey[k]; h == nil || !h.until.IsZero() && !now.Before(h.until) {
		return nil
	}
	return h
}

func (c *Client) ticket(t *task, duplicate bool) *tasks.Ticket[json.RawMessage] {
	ticket := tasks.NewTicket[json.RawMessage](c, t.ID)
	ticket.Duplicate = duplicate
	if duplicate {
		c.mu.Lock()
		defer c.mu.Unlock()
		ticket.Outcome = t.status.Outcome
	}
	return ticket
}

// tell calls the function of OnEnqueue.
func (c *Client) tell(t Task) {
	c.mu.Lock()
	f := c.onEnqueue
	c.mu.Unlock()
	if f != nil {
		f(t)
	}
}

// OnEnqueue has f called after each task that is stored, before its ticket is returned. f
// may end the task or have it run. Duplicates and what is refused are not told.
func (c *Client) OnEnqueue(f func(Task)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onEnqueue = f
}

// Enqueued lists the tasks in the order in which they were enqueued; those of one
// tasks.EnqueueAll are enqueued in any order. Duplicates and what was refused are no tasks.
func (c *Client) Enqueued() []Task {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Task, len(c.list))
	for i, t := range c.list {
		list[i] = t.Task
	}
	return list
}

// Payloads lists the payloads of one type in the order in which they were enqueued.
func Payloads[P tasks.Payload](c *Client) []P {
	var list []P
	for _, t := range c.Enqueued() {
		if p, ok := t.Payload.(P); ok {
			list = append(list, p)
		}
	}
	return list
}
