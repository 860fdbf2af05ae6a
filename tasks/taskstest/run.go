package taskstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// bound is a task type that can run.
type bound struct {
	worker.Definition
	timeout time.Duration
}

// Connect lets Run call a vendor with the accounts that the settings describe, usually
// those that lead to its sandbox:
//
//	vendor := danaconnecttest.New(danaconnecttest.Options{})
//	web := httptest.NewServer(sandbox.Vendors{vendor}.Handler())
//	err := client.Connect(danaconnect.Vendor, vendor.Environ(web.URL))
//
// The settings are a worker's; limits, breakers and changes of alerts need Redis and do
// not apply.
func (c *Client) Connect(v tasks.Vendor, environ map[string]string) error {
	var variables []string
	var opened []bound
	for _, a := range v.Accounts {
		s := a.Settings()
		if err := settings.Load(s, environ); err != nil {
			return err
		}
		if !s.Configured() {
			variables = append(variables, s.CredentialVariables()...)
			continue
		}
		if err := s.Validate(); err != nil {
			return err
		}
		definitions, err := v.Open(a, s, account.Local())
		if err != nil {
			return err
		}
		for _, d := range definitions {
			opened = append(opened, bound{d, s.Timeouts().WithDefaults().Call})
		}
	}
	if len(opened) == 0 {
		return errors.New("taskstest: none of these is set: " + strings.Join(variables, ", "))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range opened {
		c.bound[b.Type] = b
	}
	return nil
}

// Run makes the next attempt of a task, with the vendor's own code, and returns what
// became of the task. If that is another attempt later (Retrying, Parked), the next Run
// makes it, without the pause that a worker would make. Connect its vendor first.
//
// The error says why the task could not run. A call that fails is no error: the status
// has its outcome.
func (c *Client) Run(ctx context.Context, id string) (*tasks.Status, error) {
	t, d, err := c.begin(id)
	if err != nil {
		return nil, err
	}
	if t == nil { // it has ended without a call
		return c.Status(ctx, id)
	}
	settled := false
	defer func() {
		if !settled { // the handler panicked
			c.mu.Lock()
			defer c.mu.Unlock()
			t.running = false
		}
	}()
	tried, err := worker.Try{
		Definition: d.Definition,
		ID:         t.ID,
		Payload:    t.raw,
		Due:        t.Due,
		Expires:    t.Expires,
		Timeout:    d.timeout,
		Attempts:   t.counted,
		Called:     len(t.status.History) > 0,
		InDoubt:    t.inDoubt,
		Lookups:    t.lookups,
		Place:      t.lookup,
	}.Run(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	settled = true
	t.running = false
	now := time.Now()
	c.settle(t, tried, now)
	return t.statusAt(now), err
}

// begin starts an attempt. It returns no task if the task has ended without a call.
func (c *Client) begin(id string) (*task, bound, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	t, err := c.find(id, now)
	if err != nil {
		return nil, bound{}, err
	}
	if err := t.mayEnd(tasks.Done, now); err != nil {
		return nil, bound{}, err
	}
	if c.overtaken(t) {
		c.supersede(t, now)
		return nil, bound{}, nil
	}
	d, ok := c.bound[t.Type]
	if !ok {
		return nil, bound{}, fmt.Errorf("taskstest: no account for %s: connect its vendor first", t.Type)
	}
	c.starts(t)
	t.running = true
	return t, d, nil
}

// settle writes what became of an attempt.
func (c *Client) settle(t *task, tried worker.Tried, now time.Time) {
	if tried.Attempt != nil {
		t.note(*tried.Attempt)
	}
	if tried.Counted {
		t.counted++
	}
	t.inDoubt = tried.InDoubt
	t.lookups = tried.Lookups
	t.lookup = tried.Place
	t.parked = tried.State == tasks.Parked
	if tried.Outcome == "" {
		t.status.Code = tried.Code
		t.status.Message = tried.Message
		t.status.Next = now.Add(tried.Wait)
		return
	}
	c.end(t, now, tasks.Status{
		Outcome: tried.Outcome,
		Code:    tried.Code,
		Message: tried.Message,
		Data:    tried.Data,
	})
}
