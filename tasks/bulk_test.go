package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"errand.internal/internal/apptest"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/taskstest"
)

// An application passes on what a person has typed: Go code gets the same care as a
// file.
func TestEnqueueCleansTexts(t *testing.T) {
	t.Parallel()
	c := apptest.New(t).Client(t)
	enqueue := func(idRequest tasks.ID, code string) (*tasks.Ticket[danaconnect.OTPVerdict], error) {
		p := danaconnect.OTPVerify{IDRequest: idRequest, OTP: code}
		return tasks.Enqueue(t.Context(), c, p, tasks.Key("login-1"))
	}
	first, err := enqueue("251", "004217")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := enqueue(" 251", "004217\u00a0\n"); err != nil || again.ID != first.ID {
		t.Errorf("got %+v, %v; want the first task, %s", again, err, first.ID)
	}
	_, err = enqueue("251", "００４２１７")
	if wrong, ok := errors.AsType[*tasks.PayloadError](err); !ok || wrong.Problems[0].Field != "otp" {
		t.Errorf("a full-width passcode: %v", err)
	}
	payload := danaconnect.OTPVerify{IDRequest: "251", OTP: "004217"}
	for _, key := range []string{" ", "a\nb"} {
		if _, err := tasks.Enqueue(t.Context(), c, payload, tasks.Key(key)); err == nil {
			t.Errorf("the key %q was accepted", key)
		}
	}
}

func TestEnqueueAll(t *testing.T) {
	t.Parallel()
	c := apptest.New(t).Client(t)
	list := make([]danaconnect.OTPVerify, 500)
	for i := range list {
		list[i] = danaconnect.OTPVerify{IDRequest: tasks.ID(fmt.Sprint(i + 1)), OTP: "004217"}
	}
	list[7].OTP = ""
	keys := func(i int) []tasks.Option { return []tasks.Option{tasks.Key("login/" + string(list[i].IDRequest))} }
	tickets, err := tasks.EnqueueAll(t.Context(), c, list, keys)
	if one, ok := errors.AsType[*tasks.BulkError](err); !ok || one.Index != 7 || tickets[7] != nil {
		t.Errorf("err = %v", err)
	}
	if _, ok := errors.AsType[*tasks.PayloadError](err); !ok {
		t.Errorf("the cause is lost: %v", err)
	}
	list[7].OTP = "004217"
	again, err := tasks.EnqueueAll(t.Context(), c, list, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, ticket := range again {
		if ticket.Duplicate == (i == 7) || (i != 7 && ticket.ID != tickets[i].ID) {
			t.Errorf("task %d: %+v", i, ticket)
		}
	}
}

// Of tasks with one key, the first in the list is enqueued, and one with another payload
// is refused.
func TestEnqueueAllKeepsTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	c := apptest.New(t).Client(t)
	list := make([]danaconnect.OTPVerify, 400)
	for i := range list {
		list[i] = danaconnect.OTPVerify{IDRequest: tasks.ID(fmt.Sprint(i + 1)), OTP: "004217"}
	}
	for name, number := range map[string]func(i int) int{
		"neighbours": func(i int) int { return i / 2 },
		"far apart":  func(i int) int { return 1000 + i%200 },
	} {
		keys := func(i int) []tasks.Option { return []tasks.Option{tasks.Key(fmt.Sprint("login/", number(i)))} }
		tickets, err := tasks.EnqueueAll(t.Context(), c, list, keys)
		if !errors.Is(err, tasks.ErrKeyConflict) {
			t.Errorf("%s: err = %v", name, err)
		}
		seen := map[int]bool{}
		for i, ticket := range tickets {
			if first := !seen[number(i)]; first != (ticket != nil) {
				t.Errorf("%s: task %d: %+v", name, i, ticket)
			}
			seen[number(i)] = true
		}
	}
}

// slowFirst is a client whose first batch takes until the third is stored.
type slowFirst struct {
	*taskstest.Client
	third chan struct{}
	early atomic.Bool // the second batch came before the first was stored
	first atomic.Bool // it is stored
}

func (c *slowFirst) EnqueuePayloads(
	ctx context.Context,
	list []tasks.Payload,
	options func(i int) []tasks.Option,
) ([]*tasks.Ticket[json.RawMessage], []error) {
	switch list[0].(danaconnect.OTPVerify).OTP {
	case "000001":
		<-c.third
		defer c.first.Store(true)
	case "000002":
		c.early.Store(!c.first.Load())
	case "000003":
		defer close(c.third)
	}
	return c.Client.EnqueuePayloads(ctx, list, options)
}

// A batch waits for an earlier one that has its keys, and for no other.
func TestEnqueueAllWaitsForEarlierKeys(t *testing.T) {
	t.Parallel()
	const size = 64 // of a batch
	c := &slowFirst{Client: taskstest.New(), third: make(chan struct{})}
	list := make([]danaconnect.OTPVerify, 3*size)
	for i := range list {
		list[i] = danaconnect.OTPVerify{IDRequest: "251", OTP: fmt.Sprintf("%06d", i/size+1)}
	}
	keys := func(i int) []tasks.Option {
		if i < 2*size {
			return []tasks.Option{tasks.Key(fmt.Sprint("login/", i%size))}
		}
		return []tasks.Option{tasks.Key(fmt.Sprint("login/", i))}
	}
	tickets, err := tasks.EnqueueAll(t.Context(), c, list, keys)
	if !errors.Is(err, tasks.ErrKeyConflict) || c.early.Load() {
		t.Errorf("the second batch came early: %v; %v", c.early.Load(), err)
	}
	for i, ticket := range tickets {
		if second := i/size == 1; second != (ticket == nil) {
			t.Errorf("task %d: %+v", i, ticket)
		}
	}
}
