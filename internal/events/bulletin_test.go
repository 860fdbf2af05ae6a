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

	"errand.internal/internal/announce"
	"errand.internal/internal/events"
	"errand.internal/internal/redistest"
)

var silent = zerolog.New(io.Discard)

// fleet is some workers that announce.
func fleet(t *testing.T, server *redistest.Server, publish events.Publish, n int) []*events.Bulletin {
	t.Helper()
	var all []*events.Bulletin
	for range n {
		b := events.NewBulletin(server.Client(), publish, silent)
		b.Start()
		all = append(all, b)
	}
	return all
}

func closeAll(all []*events.Bulletin) {
	for _, b := range all {
		b.Close()
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

func TestOneEventForTheWholeFleet(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	steps := []struct {
		kind           announce.Kind
		subject        string
		data           map[string]string
		credential, id string // in the event
	}{
		{announce.CredentialParked, "anna", nil, "anna", ""},
		{announce.CredentialParked, "dckap", nil, "dckap", ""},
		{announce.CredentialResumed, "anna", nil, "anna", ""},
		{announce.CredentialParked, "anna", nil, "anna", ""},
		{announce.CredentialExpiring, "dckap", map[string]string{"lastDay": "2026-02-14"}, "dckap", ""},
		{announce.CredentialExpiring, "dckap", map[string]string{"lastDay": "2026-02-28"}, "dckap", ""},
		{announce.TaskUnconfirmed, "anna-x", map[string]string{"age": "1h0m0s"}, "", "anna-x"},
	}
	for i, step := range steps {
		workers := fleet(t, server, kept.publish, 3)
		for _, b := range workers {
			b.Announce(announce.Announcement{Kind: step.kind, Subject: step.subject, Data: step.data})
		}
		closeAll(workers)
		all := kept.all()
		if len(all) != i+1 {
			t.Fatalf("%d events after %s %s, want %d: %+v", len(all), step.kind, step.subject, i+1, all)
		}
		if d := data(t, all[i]); all[i].Type != string(step.kind) || d["credential"] != step.credential ||
			d["id"] != step.id {
			t.Errorf("event %s %v", all[i].Type, d)
		}
	}
	// A worker that starts later has nothing to add: it does not even ask the
	// queue, which knows an event's key for some days only.
	before := kept.doubts
	late := fleet(t, server, kept.publish, 1)
	late[0].Announce(announce.Announcement{Kind: announce.CredentialParked, Subject: "anna"})
	closeAll(late)
	if n := len(kept.all()); n != len(steps) || kept.doubts != before {
		t.Errorf("%d events and %d repeated ones after a late worker", n, kept.doubts-before)
	}
}

// A worker that is slow to say what it has seen does not turn the others' later
// word around.
func TestAnOldTurnIsNoTurn(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	stuck, free := make(chan struct{}), make(chan struct{})
	slow := events.NewBulletin(server.Client(), func(ctx context.Context, e events.Event) error {
		close(stuck)
		<-free
		return kept.publish(ctx, e)
	}, silent)
	slow.Start()
	slow.Announce(announce.Announcement{Kind: announce.TaskUnconfirmed, Subject: "anna-1"})
	<-stuck
	slow.Announce(announce.Announcement{Kind: announce.CredentialParked, Subject: "anna"})
	for _, kind := range []announce.Kind{announce.CredentialParked, announce.CredentialResumed} {
		quick := fleet(t, server, kept.publish, 1)
		quick[0].Announce(announce.Announcement{Kind: kind, Subject: "anna"})
		closeAll(quick)
	}
	close(free)
	slow.Close()
	var types []string
	for _, e := range kept.all() {
		types = append(types, e.Type)
	}
	if want := "[credential.parked credential.resumed task.unconfirmed]"; fmt.Sprint(types) != want {
		t.Errorf("events %v, want %s", types, want)
	}
}

// Dead tasks become events in another way, and the end of the sink in none.
func TestWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	workers := fleet(t, server, kept.publish, 1)
	for _, kind := range []announce.Kind{announce.SinkGone, announce.TaskDead, announce.TaskUnconfirmed} {
		workers[0].Announce(announce.Announcement{Kind: kind, Subject: "x"})
	}
	closeAll(workers)
	if all := kept.all(); len(all) != 1 || all[0].Type != "task.unconfirmed" {
		t.Errorf("events %+v", all)
	}
}

// Redis, or the queue, is away for a while: the announcements wait, and one
// that was said by a worker that then died is published by another.
func TestAnnouncementsWaitForRedis(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	var away atomic.Bool
	tried := make(chan string, 100)
	away.Store(true)
	kept.fail = func(e events.Event) error {
		if away.Load() {
			tried <- e.ID
			return errors.New("the queue is away")
		}
		return nil
	}
	dies := fleet(t, server, kept.publish, 1)
	dies[0].Announce(announce.Announcement{Kind: announce.CredentialParked, Subject: "anna"})
	first := <-tried // it has got as far as the queue
	lives := fleet(t, server, kept.publish, 1)
	lives[0].Announce(announce.Announcement{Kind: announce.CredentialParked, Subject: "anna"})
	away.Store(false)
	closeAll(lives)
	closeAll(dies)
	all := kept.all()
	if len(all) != 1 || all[0].ID != first {
		t.Errorf("events %+v, want one, with the ID %v", all, first)
	}
}

// A refused password is mostly mended by starting all workers with another one:
// none of them knows that it was refused.
func TestACredentialThatWorksAgainIsNoticedByNewWorkers(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	old := fleet(t, server, kept.publish, 1)
	old[0].Announce(announce.Announcement{Kind: announce.CredentialParked, Subject: "anna"})
	closeAll(old)

	var works atomic.Bool
	asked := make(chan struct{}, 100)
	b := events.NewBulletin(server.Client(), kept.publish, silent)
	b.Watch(
		events.Credential{Name: "anna", Works: func(context.Context) (bool, error) {
			asked <- struct{}{}
			return works.Load(), nil
		}},
		events.Credential{Name: "never-parked", Works: func(context.Context) (bool, error) {
			t.Error("a credential that is not parked was looked at")
			return true, nil
		}},
	)
	b.Start()
	<-asked
	if n := len(kept.all()); n != 1 {
		t.Errorf("%d events before it works", n)
	}
	works.Store(true)
	all := kept.when(t, 2)
	b.Close()
	if all[1].Type != "credential.resumed" || data(t, all[1])["credential"] != "anna" {
		t.Errorf("event %+v", all[1])
	}
}

// Each warning is one event, although every worker gives it, with the days that
// it has counted itself.
func TestACredentialThatExpires(t *testing.T) {
	t.Parallel()
	server, kept := redistest.New(t), &shelf{}
	for _, warning := range []struct{ once, left, over string }{
		{"2026-02-14 14", "14", "false"},
		{"2026-02-14 14", "13", "false"},
		{"2026-02-14 7", "7", "false"},
		{"2026-02-14 7", "5", "false"},
		{"2026-02-14 1", "0", "true"},
	} {
		workers := fleet(t, server, kept.publish, 2)
		for _, b := range workers {
			b.Announce(announce.Announcement{
				Kind:    announce.CredentialExpiring,
				Subject: "dckap",
				Once:    warning.once,
				Data:    map[string]string{"lastDay": "2026-02-14", "daysLeft": warning.left, "over": warning.over},
			})
		}
		closeAll(workers)
	}
	var got []string
	for _, e := range kept.all() {
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
