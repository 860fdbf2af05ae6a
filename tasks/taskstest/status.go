package taskstest

import (
	"context"
	"errors"
	"slices"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// Status is that of *tasks.Client.
func (c *Client) Status(ctx context.Context, id string) (*tasks.Status, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	t, err := c.find(id, now)
	if err != nil {
		return nil, err
	}
	return t.statusAt(now), nil
}

// Wait is that of *tasks.Client.
func (c *Client) Wait(ctx context.Context, id string) (*tasks.Status, error) {
	for {
		status, err := c.Status(ctx, id)
		if err != nil || status.State == tasks.Ended {
			return status, err
		}
		c.mu.Lock()
		t := c.byID[id]
		c.mu.Unlock()
		expiry := time.NewTimer(time.Until(t.lastCall()) + 1)
		select {
		case <-t.ended:
		case <-expiry.C:
		case <-ctx.Done():
			expiry.Stop()
			return status, ctx.Err()
		}
		expiry.Stop()
	}
}

// Cancel is that of *tasks.Client.
func (c *Client) Cancel(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	t, err := c.find(id, now)
	if err != nil {
		return err
	}
	if t.status.Outcome == tasks.Cancelled {
		return nil
	}
	if state := t.started(now); state != "" {
		return &tasks.StartedError{State: state}
	}
	c.end(t, now, tasks.Status{Outcome: tasks.Cancelled, Message: "cancelled before it was attempted"})
	return nil
}

// started says why a task cannot be cancelled; "" if it can.
func (t *task) started(now time.Time) string {
	switch {
	case t.status.Outcome != "":
		return string(t.status.Outcome)
	case t.running || t.status.Attempts > 0:
		return string(t.state(now))
	}
	return ""
}

// FindKey is that of *tasks.Client.
func (c *Client) FindKey(
	ctx context.Context,
	info tasks.Info,
	text string,
) (id string, o tasks.Outcome, err error) {
	if err := ctx.Err(); err != nil {
		return "", "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.holder(key{info.Example.Policy().Queue, info.Type, text}, time.Now())
	if h == nil {
		return "", "", tasks.ErrNotFound
	}
	return h.task.ID, h.outcome, nil
}

// find returns a task whose record is still kept.
func (c *Client) find(id string, now time.Time) (*task, error) {
	t := c.byID[id]
	if t == nil {
		if _, err := record.QueueOf(id); errors.Is(err, record.ErrBadID) {
			return nil, err
		}
		return nil, tasks.ErrNotFound
	}
	c.expire(t, now)
	if t.status.Outcome != "" && !now.Before(t.status.Ended.Add(t.kept())) {
		return nil, tasks.ErrNotFound
	}
	return t, nil
}

const (
	// completedSlack is how much longer than its result the record of a task is kept.
	completedSlack = time.Hour
	// archivedFor is how long the record of a dead letter is kept.
	archivedFor = 91 * 24 * time.Hour
)

// kept is how long the record of an ended task is kept.
func (t *task) kept() time.Duration {
	switch o := t.status.Outcome; {
	case o.Archived():
		return archivedFor
	case o == tasks.Cancelled:
		return t.policy.Retention
	}
	return t.policy.Retention + completedSlack
}

// lastCall is the last moment at which the task may still run.
func (t *task) lastCall() time.Time {
	return t.Expires.Add(-max(worker.Delivery(t.policy, t.Due, t.Expires), time.Nanosecond))
}

// expire ends a task whose time was up before now.
func (c *Client) expire(t *task, now time.Time) {
	if t.running || t.status.Outcome != "" || !now.After(t.lastCall()) {
		return
	}
	outcome, message := worker.OutOfTime(len(t.status.History) > 0, t.counted, t.inDoubt)
	c.end(t, t.lastCall(), tasks.Status{Outcome: outcome, Message: message})
}

// end ends a task as s says, of which Outcome, Code, Message and Data count.
func (c *Client) end(t *task, now time.Time, s tasks.Status) {
	t.status.Outcome = s.Outcome
	t.status.Code = s.Code
	t.status.Message = s.Message
	t.status.Data = s.Data
	t.status.HasData = len(s.Data) > 0
	t.status.Ended = now
	t.status.Next = time.Time{}
	t.parked = false
	if h := c.byKey[t.by]; h != nil && h.task == t {
		h.outcome = s.Outcome
		h.until = now.Add(t.policy.KeyTTL)
		if s.Outcome.FreesKey() {
			delete(c.byKey, t.by)
		}
	}
	close(t.ended)
}

func (t *task) state(now time.Time) tasks.State {
	switch {
	case t.status.Outcome != "":
		return tasks.Ended
	case t.running:
		return tasks.Running
	case t.parked:
		return tasks.Parked
	case !t.status.Next.IsZero():
		return tasks.Retrying
	case t.Due.After(now):
		return tasks.Scheduled
	}
	return tasks.Pending
}

// statusAt returns a copy of the status.
func (t *task) statusAt(now time.Time) *tasks.Status {
	s := t.status
	s.State = t.state(now)
	s.History = slices.Clone(s.History)
	s.Data = slices.Clone(s.Data)
	if s.State == tasks.Ended && !now.Before(s.Ended.Add(t.policy.Retention)) {
		s.Data = nil
		s.HasData = false
	}
	return &s
}
