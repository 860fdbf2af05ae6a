package taskstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/tasks"
	"errand.internal/tasks/all"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dinero"
	"errand.internal/tasks/taskstest"
)

func verify(idRequest, code string) danaconnect.OTPVerify {
	return danaconnect.OTPVerify{IDRequest: tasks.ID(idRequest), OTP: code}
}

var correct = danaconnect.OTPVerdict{Verdict: "correct"}

// mustEnqueue enqueues a task that is accepted.
func mustEnqueue(t *testing.T, s system, opts ...tasks.Option) *tasks.Ticket[danaconnect.OTPVerdict] {
	t.Helper()
	ticket, err := tasks.Enqueue(t.Context(), s, verify("251", "004217"), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// wantRefused expects a *tasks.PayloadError with this text.
func wantRefused(t *testing.T, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[*tasks.PayloadError](err); !ok || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestBothClientsRefuseAnInvalidPayload(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		_, err := tasks.Enqueue(t.Context(), s, danaconnect.OTPSend{OTPType: 3, Length: 2})
		wantRefused(t, err,
			"idConversation is required; values is required; type must be at most 2; length must be at least 3")
		call := danaconnect.APICall{Method: http.MethodPost, Path: "records"}
		call.Body = json.RawMessage(`{"a":1,"a":2}`)
		_, err = tasks.Enqueue(t.Context(), s, call)
		wantRefused(t, err, "body.a is given twice")
		call.Body = strings.Repeat("x", 512<<10)
		_, err = tasks.Enqueue(t.Context(), s, call)
		if _, ok := errors.AsType[*tasks.PayloadError](err); !ok || !strings.Contains(err.Error(), "at most 524288 are allowed") {
			t.Errorf("a payload of more than 512 KiB: %v", err)
		}
		call.Body = strings.Repeat("x", 500<<10)
		if _, err = tasks.Enqueue(t.Context(), s, call); err != nil {
			t.Errorf("a payload of less: %v", err)
		}
		payload, err := all.Vendors.Decode("danaconnect:otp:verify", []byte(`{"idRequest":251,"otp":"004217"}`))
		if err != nil {
			t.Fatal(err)
		}
		ticket, err := s.EnqueuePayload(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		if status, err := s.Status(t.Context(), ticket.ID); err != nil || status.Type != payload.Type() {
			t.Errorf("a payload of a type that is known at run time: %+v, %v", status, err)
		}
	})
}

func TestBothClientsKeepKeys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		first := mustEnqueue(t, s, tasks.Key("login-1"))
		if first.Duplicate || first.ID == "" || first.Outcome != "" {
			t.Errorf("the first: %+v", first)
		}
		again, err := tasks.Enqueue(t.Context(), s, verify(" 251", "004217\n"), tasks.Key(" login-1 "))
		if err != nil || !again.Duplicate || again.ID != first.ID || again.Outcome != "" {
			t.Errorf("again: %+v, %v", again, err)
		}
		_, err = tasks.Enqueue(t.Context(), s, verify("251", "999999"), tasks.Key("login-1"))
		if want := tasks.ErrKeyConflict.Error() + " (" + first.ID + ")"; !errors.Is(err, tasks.ErrKeyConflict) ||
			err.Error() != want {
			t.Errorf("another payload: %v, want %s", err, want)
		}
		send := danaconnect.OTPSend{
			IDConversation: 1,
			Values:         danaconnect.Values{{Key: "A", Value: "b"}},
			OTPType:        1,
			Length:         6,
		}
		if other, err := tasks.Enqueue(t.Context(), s, send, tasks.Key("login-1")); err != nil || other.Duplicate {
			t.Errorf("the key of another type: %+v, %v", other, err)
		}
		if a, b := mustEnqueue(t, s), mustEnqueue(t, s); a.Duplicate || b.Duplicate || a.ID == b.ID {
			t.Errorf("without a key: %+v, %+v", a, b)
		}
		for key, want := range map[string]string{
			" ":                      "the key must not be empty",
			strings.Repeat("k", 257): "the key must have at most 256 bytes",
		} {
			_, err := tasks.Enqueue(t.Context(), s, verify("251", "004217"), tasks.Key(key))
			wantRefused(t, err, want)
		}
		if id, o, err := s.FindKey(t.Context(), verifyInfo(t), "login-1"); id != first.ID || o != "" || err != nil {
			t.Errorf("FindKey: %s, %s, %v", id, o, err)
		}
		if _, _, err := s.FindKey(t.Context(), verifyInfo(t), "login-2"); !errors.Is(err, tasks.ErrNotFound) {
			t.Errorf("FindKey of a free one: %v", err)
		}
	})
}

func verifyInfo(t *testing.T) tasks.Info {
	t.Helper()
	info, ok := all.Vendors.Find("danaconnect:otp:verify")
	if !ok {
		t.Fatal("no such type")
	}
	return info
}

func TestBothClientsTakeTheKeyOfThePayload(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		var invoice dinero.InvoiceCreate
		raw := `{"organizationId":"123456","body":{"ExternalReference":"order-1","ProductLines":[]}}`
		if err := json.Unmarshal([]byte(raw), &invoice); err != nil {
			t.Fatal(err)
		}
		first, err := tasks.Enqueue(t.Context(), s, invoice)
		if err != nil {
			t.Fatal(err)
		}
		again, err := tasks.Enqueue(t.Context(), s, invoice, tasks.Key("order-1"))
		if err != nil || !again.Duplicate || again.ID != first.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
		_, err = tasks.Enqueue(t.Context(), s, invoice, tasks.Key("order-2"))
		wantRefused(t, err,
			"the key contradicts body.ExternalReference, which is the task's key; leave it out")
	})
}

// The key is free after an end that leaves nothing behind, and leads to the task else.
func TestBothClientsFreeTheKeyByTheOutcome(t *testing.T) {
	t.Parallel()
	freed := map[tasks.Outcome]bool{
		tasks.Done:       false,
		tasks.Declined:   false,
		tasks.Superseded: false,
		tasks.Unknown:    false,
		tasks.Invalid:    true,
		tasks.Expired:    true,
		tasks.Failed:     true,
		tasks.Cancelled:  true,
	}
	onBoth(t, func(t *testing.T, s system) {
		for outcome, free := range freed {
			key := "key of " + string(outcome)
			first := mustEnqueue(t, s, tasks.Key(key))
			if outcome == tasks.Cancelled {
				if err := s.Cancel(t.Context(), first.ID); err != nil {
					t.Fatal(err)
				}
			} else {
				s.end(t, first.ID, taskstest.Ending{Outcome: outcome})
			}
			_, found, err := s.FindKey(t.Context(), verifyInfo(t), key)
			if free != errors.Is(err, tasks.ErrNotFound) || !free && found != outcome {
				t.Errorf("%s: FindKey: %s, %v", outcome, found, err)
			}
			again := mustEnqueue(t, s, tasks.Key(key))
			want := outcome
			if free {
				want = ""
			}
			if again.Duplicate == free || (again.ID == first.ID) == free || again.Outcome != want {
				t.Errorf("%s: %+v after %s", outcome, again, first.ID)
			}
			if free { // so that the next one is the first of its queue
				s.end(t, again.ID, taskstest.Ending{Outcome: tasks.Done, Result: correct})
			}
		}
	})
}

func TestBothClientsReturnTheEnd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		ticket := mustEnqueue(t, s)
		type answer struct {
			verdict danaconnect.OTPVerdict
			err     error
		}
		answers := make(chan answer, 1)
		go func() {
			verdict, err := ticket.Wait(t.Context())
			answers <- answer{verdict, err}
		}()
		s.end(t, ticket.ID, taskstest.Ending{Outcome: tasks.Done, Result: correct})
		if got := <-answers; got.err != nil || got.verdict != correct {
			t.Errorf("a wait that began before the end: %+v", got)
		}
		if got, err := tasks.NewTicket[danaconnect.OTPVerdict](s, ticket.ID).Wait(t.Context()); err != nil || got != correct {
			t.Errorf("a ticket by its ID: %+v, %v", got, err)
		}
		wrong := danaconnect.OTPVerdict{Verdict: "incorrect"}
		for _, e := range []taskstest.Ending{
			{Outcome: tasks.Declined, Code: "16", Message: "wrong", Result: wrong},
			{Outcome: tasks.Invalid, Code: "5", Message: "no such conversation"},
			{Outcome: tasks.Unknown, Message: "the answer was lost"},
			{Outcome: tasks.Failed, Code: "503"},
		} {
			ticket := mustEnqueue(t, s)
			s.end(t, ticket.ID, e)
			got, err := ticket.Wait(t.Context())
			want := tasks.OutcomeError{ID: ticket.ID, Outcome: e.Outcome, Code: e.Code, Message: e.Message}
			if o, ok := errors.AsType[*tasks.OutcomeError](err); !ok || *o != want {
				t.Errorf("%s: %v, want %v", e.Outcome, err, &want)
			}
			if e.Result != nil && got != e.Result || e.Result == nil && got != (danaconnect.OTPVerdict{}) {
				t.Errorf("%s: the result is %+v", e.Outcome, got)
			}
			status, err := s.Status(t.Context(), ticket.ID)
			if err != nil || status.State != tasks.Ended || status.Outcome != e.Outcome || status.Attempts != 1 ||
				status.History[0].Class != string(e.Outcome) || status.HasData != (e.Result != nil) ||
				status.Ended.Before(status.Created) || status.Queue != "otp" {
				t.Errorf("%s: the status is %+v, %v", e.Outcome, status, err)
			}
		}
	})
}

func TestBothClientsStopWaiting(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		ticket := mustEnqueue(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		status, err := s.Wait(ctx, ticket.ID)
		if !errors.Is(err, context.DeadlineExceeded) || status == nil || status.State != tasks.Pending {
			t.Errorf("a wait that is too short: %+v, %v", status, err)
		}
		if status, err := s.Wait(ctx, ticket.ID); !errors.Is(err, context.DeadlineExceeded) || status != nil {
			t.Errorf("a wait that is over as it begins: %+v, %v", status, err)
		}
		if _, err := s.Wait(t.Context(), "otp_nosuchtask"); !errors.Is(err, tasks.ErrNotFound) {
			t.Errorf("no such task: %v", err)
		}
		if _, err := s.Status(t.Context(), "otp_nosuchtask"); !errors.Is(err, tasks.ErrNotFound) {
			t.Errorf("the status of no such task: %v", err)
		}
		_, err = s.Status(t.Context(), "rubbish")
		if want := "not a task ID; an ID looks like otp_6wk3m5q2c4x7y"; err == nil || err.Error() != want {
			t.Errorf("no ID: %v", err)
		}
		cancelled, stop := context.WithCancel(t.Context())
		stop()
		_, err = tasks.Enqueue(cancelled, s, verify("251", "004217"))
		if _, ok := errors.AsType[*tasks.UnconfirmedError](err); !ok || !errors.Is(err, context.Canceled) {
			t.Errorf("enqueueing after the end of the context: %v", err)
		}
	})
}

func TestBothClientsCancelWhatWasNotAttempted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		later := mustEnqueue(t, s, tasks.In(time.Hour), tasks.Key("later"))
		if err := s.Cancel(t.Context(), later.ID); err != nil {
			t.Error(err)
		}
		_, err := later.Wait(t.Context())
		o, ok := errors.AsType[*tasks.OutcomeError](err)
		if !ok || o.Outcome != tasks.Cancelled || o.Message != "cancelled before it was attempted" {
			t.Errorf("the cancelled one: %v", err)
		}
		wantStarted := func(id, state string) {
			t.Helper()
			err := s.Cancel(t.Context(), id)
			if started, ok := errors.AsType[*tasks.StartedError](err); !ok || started.State != state {
				t.Errorf("got %v, want that it is %s", err, state)
			}
		}
		if err := s.Cancel(t.Context(), later.ID); err != nil {
			t.Errorf("cancelled twice: %v", err)
		}
		done := mustEnqueue(t, s)
		s.end(t, done.ID, taskstest.Ending{Outcome: tasks.Done, Result: correct})
		wantStarted(done.ID, "done")
		if err := s.Cancel(t.Context(), "otp_nosuchtask"); !errors.Is(err, tasks.ErrNotFound) {
			t.Errorf("no such task: %v", err)
		}
	})
}

func TestBothClientsKeepTimes(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	onBoth(t, func(t *testing.T, s system) {
		for name, c := range map[string]struct {
			opts   []tasks.Option
			state  tasks.State
			delay  time.Duration
			usable time.Duration
		}{
			"at once":                {nil, tasks.Pending, 0, time.Minute},
			"in an hour":             {[]tasks.Option{tasks.In(time.Hour)}, tasks.Scheduled, time.Hour, time.Minute},
			"in a time that is past": {[]tasks.Option{tasks.In(-time.Hour)}, tasks.Pending, 0, time.Minute},
			"at a time that is past": {[]tasks.Option{tasks.At(time.Now().Add(-time.Hour))}, tasks.Pending, 0, time.Minute},
			"for three seconds": {
				[]tasks.Option{tasks.In(time.Hour), tasks.UsableFor(3 * time.Second)}, tasks.Scheduled, time.Hour, 3 * time.Second,
			},
		} {
			before := time.Now().Truncate(time.Millisecond)
			ticket := mustEnqueue(t, s, c.opts...)
			status, err := s.Status(t.Context(), ticket.ID)
			if err != nil {
				t.Fatal(err)
			}
			if status.State != c.state || status.Due.Sub(status.Created) != c.delay ||
				status.Expires.Sub(status.Due) != c.usable ||
				status.Created.Before(before) || status.Created.After(time.Now()) {
				t.Errorf("%s: %+v", name, status)
			}
		}
		at := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		status, err := s.Status(t.Context(), mustEnqueue(t, s, tasks.At(at)).ID)
		if err != nil || !status.Due.Equal(at) || status.State != tasks.Scheduled {
			t.Errorf("at %s: %+v, %v", at, status, err)
		}
		for want, opt := range map[string]tasks.Option{
			"the start must be within ten years":       tasks.In(11 * year),
			"the usable time must be within ten years": tasks.UsableFor(11 * year),
			"the usable time must not be negative":     tasks.UsableFor(-time.Second),
		} {
			_, err := tasks.Enqueue(t.Context(), s, verify("251", "004217"), opt)
			wantRefused(t, err, want)
		}
		_, err = tasks.Enqueue(t.Context(), s, verify("251", "004217"), tasks.At(time.Now().AddDate(300, 0, 0)))
		wantRefused(t, err, "the start must be within ten years")
	})
}

func TestBothClientsEndWhatIsOutOfTime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		ticket := mustEnqueue(t, s, tasks.UsableFor(200*time.Millisecond), tasks.Key("late"))
		s.expire(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := ticket.Wait(ctx)
		o, ok := errors.AsType[*tasks.OutcomeError](err)
		if !ok || o.Outcome != tasks.Expired || o.Message != "its time was up before it could run" {
			status, _ := s.Status(t.Context(), ticket.ID)
			t.Errorf("the end: %v (%+v)", err, status)
		}
		if status, err := s.Status(t.Context(), ticket.ID); err != nil || status.Attempts != 0 {
			t.Errorf("the status: %+v, %v", status, err)
		}
		if again := mustEnqueue(t, s, tasks.Key("late")); again.Duplicate {
			t.Error("its key is not free")
		}
	})
}

func TestBothClientsEnqueueAll(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s system) {
		list := make([]danaconnect.OTPVerify, 100)
		for i := range list {
			list[i] = verify(fmt.Sprint(i+1), "004217")
		}
		list[7].OTP = ""
		keys := func(i int) []tasks.Option { return []tasks.Option{tasks.Key(fmt.Sprint("login/", i/2))} }
		tickets, err := tasks.EnqueueAll(t.Context(), s, list, keys)
		if one, ok := errors.AsType[*tasks.BulkError](err); !ok || !errors.Is(err, tasks.ErrKeyConflict) {
			t.Errorf("err = %v (%v)", one, err)
		}
		for i, ticket := range tickets {
			if first := i%2 == 0; first != (ticket != nil) {
				t.Errorf("task %d: %+v", i, ticket)
			}
		}
	})
}
