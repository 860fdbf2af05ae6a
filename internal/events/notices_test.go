package events_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"errand.internal/internal/events"
	"errand.internal/internal/ledger"
	"errand.internal/internal/redistest"
)

// endTask makes a task with Notify that has ended.
func endTask(t *testing.T, s *ledger.Store, taskType string, outcome ledger.Outcome) string {
	t.Helper()
	return endOf(t, s, taskType, outcome, true, false)
}

func endOf(t *testing.T, s *ledger.Store, taskType string, outcome ledger.Outcome, notify, tellDead bool) string {
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
		TellDead: tellDead,
	})
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func TestEndsOfTasksBecomeEvents(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	store := ledger.New(server.Client())
	// Its worker died after it had written the end, and the record is not kept.
	lost := endTask(t, store, "danaconnect:otp:send", ledger.Done)
	away := true
	kept.fail = func(events.Event) error {
		if away {
			away = false
			return errors.New("the queue is away")
		}
		return nil
	}
	workers := []*events.Notices{
		events.NewNotices(store, []string{"otp", "anna"}, kept.publish, silent),
		events.NewNotices(store, []string{"otp", "anna"}, kept.publish, silent),
	}
	for _, w := range workers {
		w.Start()
	}
	all := kept.when(t, 1)
	if want := `{"id":"` + lost + `","type":"danaconnect:otp:send","outcome":"done","code":"E7","message":"in our words","attempts":1}`; string(
		all[0].Data,
	) != want ||
		all[0].Type != "task.finished" {
		t.Errorf("event %s %s\nwant  %s", all[0].Type, all[0].Data, want)
	}
	for range 150 {
		endTask(t, store, "danaconnect:otp:send", ledger.Failed)
	}
	workers[1].Finished("otp-x")
	workers[1].Finished("nonsense")
	kept.when(t, 151)
	for end := time.Now().Add(30 * time.Second); ; {
		left, err := store.PendingNotices(t.Context(), "otp", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("notices stay in Redis: %+v", left)
		}
	}
	for _, w := range workers {
		w.Close()
	}
	ids := map[string]bool{}
	for _, e := range kept.all() {
		var d struct{ ID string }
		if err := json.Unmarshal(e.Data, &d); err != nil || ids[d.ID] || e.ID != "evt_finished_"+d.ID {
			t.Errorf("%v %+v", err, e)
		}
		ids[d.ID] = true
	}
}

func TestTheEndOfADeliveryIsNoEvent(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	store := ledger.New(server.Client())
	endOf(t, store, "event:deliver", ledger.Failed, true, true)
	n := events.NewNotices(store, []string{"otp"}, kept.publish, silent)
	n.Start()
	endTask(t, store, "danaconnect:otp:send", ledger.Done)
	n.Finished("otp-x")
	kept.when(t, 1)
	n.Close()
	if all := kept.all(); len(all) != 1 || all[0].Type != "task.finished" {
		t.Errorf("events %+v", all)
	}
}

// Dead letters are told, beside what was asked for, whoever ended the task and
// whatever has become of it.
func TestDeadTasksBecomeEvents(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	store := ledger.New(server.Client())
	dead := endOf(t, store, "danaconnect:otp:send", ledger.Failed, false, true)
	both := endOf(t, store, "danaconnect:otp:send", ledger.Unknown, true, true)
	endOf(t, store, "danaconnect:otp:send", ledger.Invalid, false, false) // nobody is to hear of it
	n := events.NewNotices(store, []string{"otp"}, kept.publish, silent)
	n.Start()
	kept.when(t, 3)
	n.Close()
	got := map[string]string{}
	for _, e := range kept.all() {
		got[e.ID] = e.Type + " " + string(e.Data)
	}
	letter := func(id, outcome string) string {
		return `task.dead {"id":"` + id + `","message":"in our words","outcome":"` + outcome + `","type":"danaconnect:otp:send"}`
	}
	for id, want := range map[string]string{
		"evt_dead_" + dead:     letter(dead, "failed"),
		"evt_dead_" + both:     letter(both, "unknown"),
		"evt_finished_" + both: `task.finished {"id":"` + both + `","type":"danaconnect:otp:send","outcome":"unknown","code":"E7","message":"in our words","attempts":1}`,
	} {
		if got[id] != want {
			t.Errorf("%s is %s\nwant %s", id, got[id], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("events %v", got)
	}
}
