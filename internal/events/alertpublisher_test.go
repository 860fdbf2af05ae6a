package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/internal/alert"
	"errand.internal/internal/events"
	"errand.internal/internal/redistest"
)

var nopLog = zerolog.New(io.Discard)

// startWorkers starts n workers that publish alerts.
func startWorkers(t *testing.T, server *redistest.Server, publish events.Publish, n int) []*events.AlertPublisher {
	t.Helper()
	var all []*events.AlertPublisher
	for range n {
		p := events.NewAlertPublisher(server.Client(), publish, nopLog)
		p.Start()
		all = append(all, p)
	}
	return all
}

func closeAll(all []*events.AlertPublisher) {
	for _, p := range all {
		p.Close()
	}
}

func data(t *testing.T, e events.Event) map[string]string {
	t.Helper()
	var d map[string]string
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFleetPublishesEachAlertOnce(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	steps := []struct {
		kind           alert.Kind
		subject        string
		data           map[string]string
		credential, id string // in the event
	}{
		{alert.CredentialParked, "acme", nil, "acme", ""},
		{alert.CredentialParked, "dckap", nil, "dckap", ""},
		{alert.CredentialResumed, "acme", nil, "acme", ""},
		{alert.CredentialParked, "acme", nil, "acme", ""},
		{alert.CredentialExpiring, "dckap", map[string]string{"lastDay": "2026-02-14"}, "dckap", ""},
		{alert.CredentialExpiring, "dckap", map[string]string{"lastDay": "2026-02-28"}, "dckap", ""},
		{alert.TaskUnconfirmed, "otp_x", map[string]string{"age": "1h0m0s"}, "", "otp_x"},
	}
	for i, step := range steps {
		workers := startWorkers(t, server, published.publish, 3)
		for _, p := range workers {
			p.Publish(alert.Alert{Kind: step.kind, Subject: step.subject, Data: step.data})
		}
		closeAll(workers)
		all := published.all()
		if len(all) != i+1 {
			t.Fatalf("%d events after %s %s, want %d: %+v", len(all), step.kind, step.subject, i+1, all)
		}
		if d := data(t, all[i]); all[i].Type != string(step.kind) || d["credential"] != step.credential ||
			d["id"] != step.id {
			t.Errorf("event %s %v", all[i].Type, d)
		}
	}
	// A worker that starts later publishes nothing: it must not rely on the queue,
	// which remembers an event's key for some days only.
	before := published.duplicates
	late := startWorkers(t, server, published.publish, 1)
	late[0].Publish(alert.Alert{Kind: alert.CredentialParked, Subject: "acme"})
	closeAll(late)
	if n := len(published.all()); n != len(steps) || published.duplicates != before {
		t.Errorf("%d events and %d duplicates after a late worker", n, published.duplicates-before)
	}
}

// An alert that a slow worker publishes late does not override a later alert
// about the same credential.
func TestLateAlertDoesNotOverrideLaterOne(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	blocked, release := make(chan struct{}), make(chan struct{})
	slow := events.NewAlertPublisher(server.Client(), func(ctx context.Context, e events.Event) error {
		close(blocked)
		<-release
		return published.publish(ctx, e)
	}, nopLog)
	slow.Start()
	slow.Publish(alert.Alert{Kind: alert.TaskUnconfirmed, Subject: "otp_1"})
	<-blocked
	slow.Publish(alert.Alert{Kind: alert.CredentialParked, Subject: "acme"})
	for _, kind := range []alert.Kind{alert.CredentialParked, alert.CredentialResumed} {
		quick := startWorkers(t, server, published.publish, 1)
		quick[0].Publish(alert.Alert{Kind: kind, Subject: "acme"})
		closeAll(quick)
	}
	close(release)
	slow.Close()
	var types []string
	for _, e := range published.all() {
		types = append(types, e.Type)
	}
	if want := "[credential.parked credential.resumed task.unconfirmed]"; fmt.Sprint(types) != want {
		t.Errorf("events %v, want %s", types, want)
	}
}

// The outbox publishes dead letters, and nobody receives the end of the receiver.
func TestAlertsThatBecomeNoEvent(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	workers := startWorkers(t, server, published.publish, 1)
	for _, kind := range []alert.Kind{alert.ReceiverGone, alert.TaskDead, alert.TaskUnconfirmed} {
		workers[0].Publish(alert.Alert{Kind: kind, Subject: "x"})
	}
	closeAll(workers)
	if all := published.all(); len(all) != 1 || all[0].Type != "task.unconfirmed" {
		t.Errorf("events %+v", all)
	}
}

// While the queue is down, alerts wait. If the worker that recorded an event dies,
// another one publishes it.
func TestAlertsWaitForTheQueue(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	var down atomic.Bool
	tried := make(chan string, 100)
	down.Store(true)
	published.fail = func(e events.Event) error {
		if down.Load() {
			tried <- e.ID
			return errors.New("the queue is down")
		}
		return nil
	}
	dying := startWorkers(t, server, published.publish, 1)
	dying[0].Publish(alert.Alert{Kind: alert.CredentialParked, Subject: "acme"})
	first := <-tried // the first worker has recorded its event
	surviving := startWorkers(t, server, published.publish, 1)
	surviving[0].Publish(alert.Alert{Kind: alert.CredentialParked, Subject: "acme"})
	down.Store(false)
	closeAll(surviving)
	closeAll(dying)
	all := published.all()
	if len(all) != 1 || all[0].ID != first {
		t.Errorf("events %+v, want one, with the ID %v", all, first)
	}
}

// Operators usually replace a refused password by restarting all workers: none of
// them knows that the old one was refused.
func TestNewWorkersReportARecoveredCredential(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	old := startWorkers(t, server, published.publish, 1)
	old[0].Publish(alert.Alert{Kind: alert.CredentialParked, Subject: "acme"})
	closeAll(old)

	var works atomic.Bool
	checked := make(chan struct{}, 100)
	p := events.NewAlertPublisher(server.Client(), published.publish, nopLog)
	p.Watch(
		events.WatchedCredential{Name: "acme", Works: func(context.Context) (bool, error) {
			checked <- struct{}{}
			return works.Load(), nil
		}},
		events.WatchedCredential{Name: "never-parked", Works: func(context.Context) (bool, error) {
			t.Error("a credential that is not parked was checked")
			return true, nil
		}},
	)
	p.Start()
	<-checked
	if n := len(published.all()); n != 1 {
		t.Errorf("%d events before it works", n)
	}
	works.Store(true)
	all := published.await(t, 2)
	p.Close()
	if all[1].Type != "credential.resumed" || data(t, all[1])["credential"] != "acme" {
		t.Errorf("event %+v", all[1])
	}
}

// Each warning is one event although every worker raises it, each with the days
// left by its own count.
func TestExpiryWarningsArePublishedOnce(t *testing.T) {
	t.Parallel()
	server, published := redistest.New(t), &recorder{}
	for _, warning := range []struct{ dedupKey, left, over string }{
		{"2026-02-14 14", "14", "false"},
		{"2026-02-14 14", "13", "false"},
		{"2026-02-14 7", "7", "false"},
		{"2026-02-14 7", "5", "false"},
		{"2026-02-14 1", "0", "true"},
	} {
		workers := startWorkers(t, server, published.publish, 2)
		for _, p := range workers {
			p.Publish(alert.Alert{
				Kind:     alert.CredentialExpiring,
				Subject:  "dckap",
				DedupKey: warning.dedupKey,
				Data:     map[string]string{"lastDay": "2026-02-14", "daysLeft": warning.left, "over": warning.over},
			})
		}
		closeAll(workers)
	}
	var got []string
	for _, e := range published.all() {
		got = append(got, string(e.Data))
	}
	want := []string{
		`{"credential":"dckap","daysLeft":14,"lastDay":"2026-02-14","over":false}`,
		`{"credential":"dckap","daysLeft":7,"lastDay":"2026-02-14","over":false}`,
		`{"credential":"dckap","daysLeft":0,"lastDay":"2026-02-14","over":true}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
