package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// startSystem starts a system on free ports for the length of the test.
func startSystem(t *testing.T, settings map[string]string) *system {
	t.Helper()
	s, err := start(t.Context(), options{
		freePorts: true,
		stderr:    io.Discard,
		settings:  settings,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func TestSandboxesHaveAnAccountOfEveryType(t *testing.T) {
	t.Parallel()
	accounts, err := config.LoadAccounts(sandboxes.New("").Environ("http://127.0.0.1:1"))
	if err != nil || len(accounts) == 0 {
		t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	unused := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // opening an account needs no connection
	t.Cleanup(func() { _ = unused.Close() })
	for _, a := range accounts {
		if err := a.Validate(); !a.Configured() || err != nil {
			t.Errorf("%s: configured %v, %v (by Environ in its clients/<vendor>/<vendor>test)",
				a.Name(), a.Configured(), err)
		}
		opened := account.New(account.Shared{Redis: unused})
		if _, err := a.Open(opened); err != nil || len(opened.Credentials) == 0 {
			t.Errorf("%s: opened with %d credentials, %v", a.Name(), len(opened.Credentials), err)
		}
		opened.Close()
	}
}

// The example of every task type ends done: the sandboxes have what it names.
func TestExampleOfEveryTypeIsDone(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	for _, info := range all.Vendors.Types() {
		s.prepareExamples()
		ticket := s.enqueueExample(t, info)
		ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
		if _, err := ticket.Wait(ctx); err != nil {
			state := "?"
			if status, err := s.client.Status(t.Context(), ticket.ID); err == nil {
				state = string(status.State)
			}
			t.Errorf("%s: %v; it is %s (pending: no worker has an account for it)", info.Type, err, state)
		}
		cancel()
	}
}

// prepareExamples makes every example succeed, whatever ran before.
func (s *system) prepareExamples() {
	for i, v := range sandboxes.Vendors {
		if v.PrepareExample != nil {
			v.PrepareExample(s.sandboxes[i])
		}
	}
}

// enqueueExample enqueues a type's example as the command line does: from JSON.
func (s *system) enqueueExample(t *testing.T, info tasks.Info) *tasks.Ticket[json.RawMessage] {
	t.Helper()
	raw, err := json.Marshal(info.Example)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := all.Vendors.Decode(info.Type, raw)
	if err != nil {
		t.Fatalf("%s: %v", info.Type, err)
	}
	ticket, err := s.client.EnqueuePayload(t.Context(), payload)
	if err != nil {
		t.Fatalf("%s: %v", info.Type, err)
	}
	return ticket
}

// The embedded Redis runs the scripts of the limits: with a rate for every
// account, calls have to wait and none is made without asking.
func TestEmbeddedRedisKeepsRates(t *testing.T) {
	t.Parallel()
	rates := map[string]string{}
	for _, v := range all.Vendors {
		rates[v.Prefix()+"RATE"] = "10/1s" // one at a time, 100 ms apart
	}
	s := startSystem(t, rates)
	for _, info := range all.Vendors.Types() {
		if info.Example.Policy().Redelivery != tasks.AtLeastOnce {
			continue
		}
		s.prepareExamples()
		var tickets []*tasks.Ticket[json.RawMessage]
		for range 3 {
			tickets = append(tickets, s.enqueueExample(t, info))
		}
		for _, ticket := range tickets {
			if _, err := ticket.Wait(t.Context()); err != nil {
				t.Errorf("%s: %v", info.Type, err)
			}
		}
	}
	metrics := s.metrics(t)
	if accounts, unasked := sum(t, metrics, `errand_limit_unasked_total`); accounts == 0 || unasked != 0 {
		t.Errorf("%d accounts, %v calls made without asking", accounts, unasked)
	}
	if _, waits := sum(t, metrics, `errand_limit_waits_total`); waits == 0 {
		t.Error("no call waited")
	}
}

func (s *system) metrics(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.adminAddr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// sum adds up the series of a metric.
func sum(t *testing.T, metrics, name string) (series int, total float64) {
	t.Helper()
	for _, line := range regexp.MustCompile(`(?m)^`+name+`\{.*\} (.*)$`).FindAllStringSubmatch(metrics, -1) {
		value, err := strconv.ParseFloat(line[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		series++
		total += value
	}
	return series, total
}

// Every printed command line that enqueues names a task type, and every one that
// calls a sandbox the path of one.
func TestInstructionsNameWhatExists(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	var out bytes.Buffer
	s.printInstructions(&out)
	enqueue := regexp.MustCompile(`(?m)^  go run ./cmd/enqueue (\S+)`)
	types := enqueue.FindAllStringSubmatch(out.String(), -1)
	for _, match := range types {
		if _, found := all.Vendors.Find(match[1]); !found && match[1] != "types" {
			t.Errorf("no task type %s", match[1])
		}
	}
	if len(types) < 2 || !strings.Contains(out.String(), s.redisURL) || !strings.Contains(out.String(), s.adminAddr) {
		t.Errorf("instructions:\n%s", out.String())
	}
	curl := regexp.MustCompile(`(?m)^  curl .*` + regexp.QuoteMeta(s.sandboxesURL) + `(/\w+/)`)
	for _, match := range curl.FindAllStringSubmatch(out.String(), -1) {
		served := func(v sandbox.Vendor) bool { return v.Path() == match[1] }
		if !slices.ContainsFunc(s.sandboxes, served) {
			t.Errorf("no sandbox has the path %s", match[1])
		}
	}
}
