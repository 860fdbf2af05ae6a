package events_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"errand.internal/internal/events"
	"errand.internal/internal/ledger"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

// endTask creates a task with Notify and ends it.
func endTask(t *testing.T, s *ledger.Store, taskType string, outcome ledger.Outcome) string {
	t.Helper()
	return endTaskAs(t, s, taskType, outcome, true, false)
}

func endTaskAs(t *testing.T, s *ledger.Store, taskType string, outcome ledger.Outcome, notify, notifyDead bool) string {
	t.Helper()
	created, err := s.Create(t.Context(), ledger.NewTask{
		Queue:   "otp",
		Type:    taskType,
		Usable:  time.Minute,
		KeyLife: time.Hour,
		Notify:  notify,
	})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := s.Begin(t.Context(), ledger.Claim{
		ID:      created.ID,
		Type:    taskType,
		Owner:   "w",
		For:     time.Minute,
		Expires: created.Expires,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Finish(t.Context(), created.ID, grant, ledger.Result{
		State:    ledger.Ended,
		Outcome:  outcome,
		Code:     "E7",
		Message:  "in our words",
		Data:     []byte("canary"),
		Keep:     time.Millisecond,
		Attempt:  &ledger.Attempt{At: time.Now(), Class: string(outcome)},
		TellDead: notifyDead,
	})
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func TestTaskEndsBecomeEvents(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	store := ledger.New(server.Client())
	// The worker died right after it ended the task, and the record is not retained.
	lost := endTask(t, store, "danaconnect:otp:send", ledger.Done)
	down := true
	published.fail = func(events.Event) error {
		if down {
			down = false
			return errors.New("the queue is down")
		}
		return nil
	}
	workers := []*events.Outbox{
		events.NewOutbox(store, []string{"otp", "dinero"}, published.publish, nopLog),
		events.NewOutbox(store, []string{"otp", "dinero"}, published.publish, nopLog),
	}
	for _, w := range workers {
		w.Start()
	}
	all := published.await(t, 1)
	want := `{"id":"` + lost + `","type":"danaconnect:otp:send","outcome":"done","code":"E7",` +
		`"message":"in our words","attempts":1}`
	if string(all[0].Data) != want || all[0].Type != "task.finished" {
		t.Errorf("event %s %s\nwant  %s", all[0].Type, all[0].Data, want)
	}
	for range 150 {
		endTask(t, store, "danaconnect:otp:send", ledger.Failed)
	}
	workers[1].Wake("otp_x")
	workers[1].Wake("nonsense")
	published.await(t, 151)
	testwait.Eventually(t, 30*time.Second, "no entry is left in Redis", func() bool {
		left, err := store.PendingNotices(t.Context(), "otp", 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 0
	})
	for _, w := range workers {
		w.Close()
	}
	ids := map[string]bool{}
	for _, e := range published.all() {
		var d struct{ ID string }
		if err := json.Unmarshal(e.Data, &d); err != nil || ids[d.ID] || e.ID != "evt_finished_"+d.ID {
			t.Errorf("%v %+v", err, e)
		}
		ids[d.ID] = true
	}
}

func TestDeliveryEndsBecomeNoEvents(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	store := ledger.New(server.Client())
	endTaskAs(t, store, "event:deliver", ledger.Failed, true, true)
	o := events.NewOutbox(store, []string{"otp"}, published.publish, nopLog)
	o.Start()
	endTask(t, store, "danaconnect:otp:send", ledger.Done)
	o.Wake("otp_x")
	published.await(t, 1)
	o.Close()
	if all := published.all(); len(all) != 1 || all[0].Type != "task.finished" {
		t.Errorf("events %+v", all)
	}
}

// A dead letter is reported besides the task.finished event that Notify asks for.
func TestDeadLettersBecomeEvents(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	store := ledger.New(server.Client())
	dead := endTaskAs(t, store, "danaconnect:otp:send", ledger.Failed, false, true)
	both := endTaskAs(t, store, "danaconnect:otp:send", ledger.Unknown, true, true)
	endTaskAs(t, store, "danaconnect:otp:send", ledger.Invalid, false, false) // neither was asked for
	o := events.NewOutbox(store, []string{"otp"}, published.publish, nopLog)
	o.Start()
	published.await(t, 3)
	o.Close()
	got := map[string]string{}
	for _, e := range published.all() {
		got[e.ID] = e.Type + " " + string(e.Data)
	}
	letter := func(id, outcome string) string {
		return `task.dead {"id":"` + id + `","message":"in our words","outcome":"` + outcome +
			`","type":"danaconnect:otp:send"}`
	}
	for id, want := range map[string]string{
		"evt_dead_" + dead: letter(dead, "failed"),
		"evt_dead_" + both: letter(both, "unknown"),
		"evt_finished_" + both: `task.finished {"id":"` + both + `","type":"danaconnect:otp:send","outcome":"unknown",` +
			`"code":"E7","message":"in our words","attempts":1}`,
	} {
		if got[id] != want {
			t.Errorf("%s is %s\nwant %s", id, got[id], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("events %v", got)
	}
}
