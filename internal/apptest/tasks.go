package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// Wait waits up to 30 seconds for the result of a task.
func Wait[R any](t testing.TB, ticket *tasks.Ticket[R]) (R, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return ticket.Wait(ctx)
}

// Outcome is how a task ended whose Wait returned err.
func Outcome(err error) tasks.Outcome {
	if o, ok := errors.AsType[*tasks.OutcomeError](err); ok {
		return o.Outcome
	}
	if err == nil {
		return tasks.Done
	}
	return tasks.Outcome("error: " + err.Error())
}

// EnqueueJSON enqueues a task whose payload is given as JSON.
func EnqueueJSON(
	t testing.TB,
	c *tasks.Client,
	taskType, raw string,
	opts ...tasks.Option,
) *tasks.Ticket[json.RawMessage] {
	t.Helper()
	p, err := all.Vendors.Decode(taskType, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := c.EnqueuePayload(t.Context(), p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// Rule is a case of CheckRules: a payload, and the problems that its error names,
// none if it is empty.
type Rule struct {
	Name string
	Type string
	Raw  string
	Want string
}

// CheckRules decodes payloads.
func CheckRules(t *testing.T, rules []Rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.Type+" "+r.Name, func(t *testing.T) {
			t.Parallel()
			_, err := all.Vendors.Decode(r.Type, []byte(r.Raw))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != r.Want {
				t.Errorf("got  %q\nwant %q", got, r.Want)
			}
		})
	}
}

// CheckGoldenPayloads compares the example of each of a vendor's types with its
// golden file, and reads each golden file: an old payload decodes for ever. It runs
// in the folder of the vendor's tasks.
func CheckGoldenPayloads(t *testing.T, v tasks.Vendor) {
	t.Helper()
	known := map[string]bool{}
	for _, info := range v.Types() {
		raw, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", goldenName(info.Type)+".json")
		known[file] = true
		clientstest.Golden(t, file, raw)
		if _, err := info.Decode(clientstest.ReadFile(t, file)); err != nil {
			t.Errorf("the golden payload of %s no longer decodes: %v", info.Type, err)
		}
		if p := info.Example.Policy(); p.Queue == "" || p.Budget <= 0 || info.Summary == "" {
			t.Errorf("%s: %+v, %q", info.Type, p, info.Summary)
		}
		for _, f := range info.Fields() {
			if f.Doc == "" {
				t.Errorf("%s: field %s has no doc", info.Type, f.Path)
			}
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !known[file] {
			t.Errorf("%s is the payload of no task: types are never removed", file)
		}
	}
}

// goldenName is the file name of a type's golden files: noun_verb.
func goldenName(taskType string) string {
	_, name, _ := strings.Cut(taskType, ":")
	return strings.ReplaceAll(name, ":", "_")
}

// CheckGoldenRequest runs a type's golden payload until it is done, and compares
// the one request of op that the sandbox received. clean takes out what differs
// from day to day.
func CheckGoldenRequest(
	t *testing.T,
	c *tasks.Client,
	taskType string,
	recorder *sandbox.Engine,
	op string,
	clean ...func(string) string,
) {
	t.Helper()
	raw := clientstest.ReadFile(t, filepath.Join("testdata", goldenName(taskType)+".json"))
	if _, err := Wait(t, EnqueueJSON(t, c, taskType, string(raw))); err != nil {
		t.Errorf("%s: %v", taskType, err)
	}
	requests := recorder.Requests(op)
	if len(requests) != 1 {
		t.Fatalf("%s: %d requests, want 1", taskType, len(requests))
	}
	r := requests[0]
	text := r.Method + " " + r.URI + "\nContent-Type: " + r.Header.Get("Content-Type") + "\n\n" + string(r.Body)
	for _, f := range clean {
		text = f(text)
	}
	clientstest.GoldenText(t, filepath.Join("testdata", "requests", goldenName(taskType)+".txt"), text)
}
