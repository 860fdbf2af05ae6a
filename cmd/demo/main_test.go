package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/internal/demo"
	"errand.internal/internal/sandboxes"
)

func TestOnceRunsEveryStepOfEveryVendor(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"-once"}, &out, zerolog.SyncWriter(&errs)); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	steps := 0
	for _, v := range sandboxes.Vendors {
		if v.Steps == nil {
			continue
		}
		for _, step := range v.Steps(demo.Stage{Sandbox: v.NewSandbox("")}) {
			steps++
			if !strings.Contains(out.String(), "  ok     "+step.Title+" ") {
				t.Errorf("%q is not in the output", step.Title)
			}
		}
	}
	if steps == 0 || strings.Count(out.String(), "  ok  ") != steps || strings.Contains(out.String(), "WRONG") {
		t.Errorf("want %d steps that are ok:\n%s", steps, out.String())
	}
}

func TestStoryStopsAtTheFirstWrongStep(t *testing.T) {
	t.Parallel()
	step := func(title string, err error) demo.Step {
		return demo.Step{
			Title: title,
			Run: func(context.Context) (string, error) {
				return "done", err
			},
		}
	}
	var out bytes.Buffer
	err := runStory(t.Context(), &out, []demo.Step{
		step("first", nil),
		step("second", errors.New("no such user")),
		step("third", nil),
	})
	if err == nil || !strings.Contains(err.Error(), "second") {
		t.Errorf("err = %v", err)
	}
	_, printed, _ := strings.Cut(out.String(), "  ok     first ")
	if !strings.HasSuffix(printed, "\n  WRONG  second\n         no such user\n") {
		t.Errorf("output:\n%s", out.String())
	}
}

// A demo whose worker cannot start says why.
func TestSaysWhatCannotStart(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	settings := map[string]string{"API_ADDR": taken.Addr().String()}
	s, err := start(t.Context(), options{freePorts: true, stderr: io.Discard, settings: settings})
	if err == nil {
		s.stop()
	}
	if err == nil || !strings.Contains(err.Error(), "start the worker: API_ADDR: ") {
		t.Errorf("err = %v", err)
	}
}

func TestRefusesBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-nosuch"}, {"extra"}, {"-vendors-only", "-addr", "nowhere"}} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestScheduleListJoinsTheVendorsSchedules(t *testing.T) {
	t.Parallel()
	if list := scheduleList([]demo.Vendor{{}, {}}); list != "" {
		t.Errorf("list = %q", list)
	}
	vendors := []demo.Vendor{{Schedules: "- name: a\n"}, {}, {Schedules: "- name: b\n"}}
	if list := scheduleList(vendors); list != "- name: a\n- name: b\n" {
		t.Errorf("list = %q", list)
	}
}

func TestReceiverAwaitsAMatchingEvent(t *testing.T) {
	t.Parallel()
	r, err := newReceiver()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r.printTo(&out)
	r.add("1", event{Type: "a", Data: json.RawMessage(`1`)})
	r.add("1", event{Type: "a", Data: json.RawMessage(`1`)}) // delivered twice
	if out.String() != "  event  a 1\n" {
		t.Errorf("printed %q", out.String())
	}
	is := func(want string) func(json.RawMessage) bool {
		return func(data json.RawMessage) bool { return string(data) == want }
	}
	if err := r.await(t.Context(), "a", is("1")); err != nil {
		t.Errorf("an earlier event: %v", err)
	}
	awaited := make(chan error)
	go func() { awaited <- r.await(t.Context(), "b", is("2")) }()
	r.add("2", event{Type: "b", Data: json.RawMessage(`1`)})
	r.add("3", event{Type: "a", Data: json.RawMessage(`2`)})
	r.add("4", event{Type: "b", Data: json.RawMessage(`2`)})
	if err := <-awaited; err != nil {
		t.Errorf("a later event: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.await(canceled, "b", is("3")); !errors.Is(err, context.Canceled) {
		t.Errorf("no event: err = %v", err)
	}
}
