package taskstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// Ending is how a test ends a task.
type Ending struct {
	// Outcome is tasks.Done if it is empty.
	Outcome tasks.Outcome
	// Code and Message are the vendor's.
	Code    string
	Message string
	// Result has the type of the task's result, such as danaconnect.OTPSent. If it is nil,
	// a task that is Done has the zero value of that type, and another one no result.
	Result any
}

// End ends a task as a worker would have. It refuses what no worker could do: an ended
// task, one that is not due, or a result of another type.
func (c *Client) End(id string, e Ending) error {
	if e.Outcome == "" {
		e.Outcome = tasks.Done
	}
	if !slices.Contains(record.Outcomes, e.Outcome) {
		return fmt.Errorf("taskstest: there is no outcome %q", e.Outcome)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	t, err := c.find(id, now)
	if err != nil {
		return err
	}
	if err := t.mayEnd(e.Outcome, now); err != nil {
		return err
	}
	data, err := t.encode(e)
	if err != nil {
		return err
	}
	if calls(e.Outcome) {
		c.starts(t)
		t.note(tasks.Attempt{
			At:      now,
			Class:   string(e.Outcome),
			Code:    e.Code,
			Message: e.Message,
		})
	}
	c.end(t, now, tasks.Status{
		Outcome: e.Outcome,
		Code:    e.Code,
		Message: e.Message,
		Data:    data,
	})
	return nil
}

// calls reports whether a task with this outcome was attempted.
func calls(o tasks.Outcome) bool {
	switch o {
	case tasks.Superseded, tasks.Cancelled, tasks.Expired:
		return false
	}
	return true
}

// mayEnd returns why a task cannot end so now.
func (t *task) mayEnd(o tasks.Outcome, now time.Time) error {
	switch {
	case t.status.Outcome != "":
		return fmt.Errorf("taskstest: task %s has ended: %s", t.ID, t.status.Outcome)
	case t.running:
		return fmt.Errorf("taskstest: task %s is running", t.ID)
	case (o == tasks.Cancelled || o == tasks.Expired) && t.status.Attempts > 0:
		return fmt.Errorf("taskstest: task %s was attempted, and cannot end %s any more", t.ID, o)
	case o != tasks.Cancelled && t.Due.After(now):
		return t.notDue()
	}
	return nil
}

func (t *task) notDue() error {
	return fmt.Errorf("taskstest: task %s is due at %s; a test in a bubble of testing/synctest can wait for that",
		t.ID, t.Due.Format(time.RFC3339))
}

// encode returns the result as JSON.
func (t *task) encode(e Ending) ([]byte, error) {
	want, err := t.resultType()
	if err != nil {
		return nil, err
	}
	result := e.Result
	switch {
	case result == nil && e.Outcome == tasks.Done:
		result = reflect.Zero(want).Interface()
	case result == nil:
		return nil, nil
	case reflect.TypeOf(result) != want:
		return nil, fmt.Errorf("taskstest: the result of %s is a %s, not a %T", t.Type, want, result)
	}
	if _, none := result.(tasks.None); none {
		return nil, nil
	}
	return json.Marshal(result)
}

func (t *task) resultType() (reflect.Type, error) {
	method, ok := reflect.TypeOf(t.Payload).MethodByName("Result")
	if !ok || method.Type.NumOut() != 1 {
		return nil, errors.New("taskstest: " + t.Type + " declares no result")
	}
	return method.Type.Out(0), nil
}

// note adds an attempt to the history.
func (t *task) note(a tasks.Attempt) {
	t.status.History = append(t.status.History, a)
	t.status.Attempts = len(t.status.History)
}

// starts notes that a closing has started.
func (c *Client) starts(t *task) {
	intent := t.policy.Intent
	if intent.Subject != "" && intent.Role == tasks.Closes {
		of := subject{t.policy.Queue, intent.Subject}
		c.closed[of] = max(c.closed[of], t.place+1)
	}
}

// overtaken reports whether a later closing of what the task opens has started.
func (c *Client) overtaken(t *task) bool {
	intent := t.policy.Intent
	return intent.Subject != "" && intent.Role == tasks.Opens &&
		c.closed[subject{t.policy.Queue, intent.Subject}] > t.place
}

// supersede ends a task that opens what a later one has closed.
func (c *Client) supersede(t *task, now time.Time) {
	outcome, message := worker.Overtaken()
	c.end(t, now, tasks.Status{Outcome: outcome, Message: message})
}
