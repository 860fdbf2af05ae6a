package events_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/events"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
)

// ender enqueues tasks and ends them.
type ender struct {
	t        *testing.T
	producer *broker.Producer
	server   *broker.Server
}

func newEnder(t *testing.T, server *redistest.Server) *ender {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	s, err := broker.NewServer(broker.Config{
		Redis:   rdb,
		General: rdb,
		Queues:  map[string]int{"otp": 1},
		Owner:   "w",
		Log:     zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &ender{
		t:        t,
		producer: broker.NewProducer(rdb, record.New(rdb), nil),
		server:   s,
	}
}

// end ends a task that was enqueued with Notify.
func (e *ender) end(taskType string, outcome record.Outcome) (id string) {
	e.t.Helper()
	return e.endAs(taskType, outcome, true, false)
}

func (e *ender) endAs(taskType string, outcome record.Outcome, notify, tell bool) (id string) {
	e.t.Helper()
	ticket, err := e.producer.Enqueue(e.t.Context(), broker.Job{
		Type:   taskType,
		Policy: broker.Policy{Queue: "otp", Budget: time.Minute},
		Notify: notify,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	claims, err := e.server.Take(e.t.Context(), "otp", 1)
	if err != nil || claims[0].ID != ticket.ID {
		e.t.Fatalf("took %v, %v", claims, err)
	}
	if err := claims[0].End(broker.Result{
		Outcome: outcome,
		Code:    "E7",
		Message: "in our words",
		Data:    []byte("canary"),
		Attempt: &record.Attempt{At: time.Now(), Class: string(outcome)},
		Tell:    tell,
	}); err != nil {
		e.t.Fatal(err)
	}
	return ticket.ID
}

func TestTaskEndsBecomeEvents(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	store, tasks := record.New(server.Client()), newEnder(t, server)
	// The worker died right after it ended the task, and the record is not retained.
	lost := tasks.end("danaconnect:otp:send", record.Done)
	server.Client().Del(t.Context(), record.Key("otp", lost))
	down := true
	published.fail = func(events.Event) error {
		if down {
			down = false
			return errors.New("the queue is down")
		}
		return nil
	}
	workers := []*events.Outbox{
		events.NewOutbox(store, []string{"otp", "other"}, published.publish, nopLog),
		events.NewOutbox(store, []string{"otp", "other"}, published.publish, nopLog),
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
		tasks.end("danaconnect:otp:send", record.Failed)
	}
	workers[1].Wake("otp_x")
	workers[1].Wake("nonsense")
	published.await(t, 151)
	for end := time.Now().Add(30 * time.Second); ; {
		left, err := store.PendingOutbox(t.Context(), "otp", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("entries stay in Redis: %+v", left)
		}
	}
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
	store, tasks := record.New(server.Client()), newEnder(t, server)
	tasks.endAs("event:deliver", record.Failed, true, true)
	o := events.NewOutbox(store, []string{"otp"}, published.publish, nopLog)
	o.Start()
	tasks.end("danaconnect:otp:send", record.Done)
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
	store, tasks := record.New(server.Client()), newEnder(t, server)
	dead := tasks.endAs("danaconnect:otp:send", record.Failed, false, true)
	both := tasks.endAs("danaconnect:otp:send", record.Unknown, true, true)
	tasks.endAs("danaconnect:otp:send", record.Invalid, false, false) // neither was asked for
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
