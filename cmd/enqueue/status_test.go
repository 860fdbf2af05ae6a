package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The status is found by type and key, also when the record is gone, and a free key is no
// task.
func TestStatusByKey(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	id := h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "k", "--in", "1h", "--json").report(t).ID
	got := h.wantExit(0, "status", "--type", pipeCall, "--key", "k", "--json")
	if r := got.report(t); r.ID != id || r.State != "scheduled" || !strings.Contains(got.stdout, `"usableUntil":"20`) {
		t.Errorf("%s", got.stdout)
	}
	h.wantExit(13, "status", "--type", pipeCall, "--key", "l")
	h.startWorker()
	done := h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "m", "--wait", waitTimeout, "--json").report(t).ID
	if err := h.redis.Client().Del(t.Context(), "errand:{dckap}:task:"+done).Err(); err != nil {
		t.Fatal(err)
	}
	if r := h.wantExit(0, "status", "--type", pipeCall, "--key", "m", "--json").report(t); r.ID != done || r.Outcome != "done" {
		t.Errorf("without its record: %+v", r)
	}
}

// Wrong ways to name a task are refused with one sentence.
func TestStatusIsAskedInOneWay(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, args := range [][]string{
		{"status"},
		{"status", "otp_a", "--receipt", "f"},
		{"status", "otp_a", "--type", pipeCall, "--key", "k"},
		{"status", "--type", pipeCall},
		{"status", "--key", "k"},
		{"status", "--type", "dckap:dynamic:cal", "--key", "k"},
	} {
		if d := h.wantExit(2, args...); strings.Count(d.stderr, "\n") != 1 {
			t.Errorf("%q: %s", args, d.stderr)
		}
	}
	h.wantExit(3, "status", "--receipt", filepath.Join(t.TempDir(), "nonesuch"))
	h.wantExit(3, "status", "--receipt", writeFile(t, "receipt", "{\"row\":1}\n"))
	h.wantExit(13, "status", "--watch", "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa")
	h.wantNothingStored()
}

// A watched task's changes go to stderr, and its end sets the exit code.
func TestStatusFollowsATask(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	id := h.wantExit(0, pipeCall, "--payload", pipePayload, "--json").report(t).ID
	h.startWorker()
	d := h.wantExit(0, "status", id, "--watch", "--json")
	if got := d.report(t); got.Outcome != "done" || len(got.History) != 1 {
		t.Errorf("%s", d.stdout)
	}
	later := h.wantExit(0, pipeCall, "--payload", pipePayload, "--in", "1h", "--json").report(t).ID
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() { ended <- h.runWith(ctx, nil, "status", later, "--watch") }()
	cancel()
	if d := <-ended; d.code != 130 {
		t.Errorf("interrupted: %+v", d)
	}
}

// A receipt's tasks are counted by outcome, and followed until all have ended.
func TestStatusCountsAReceipt(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var rows strings.Builder
	for i := range 30 {
		payload := strings.Replace(pipePayload, order, fmt.Sprint("order-", i), 1)
		fmt.Fprintf(&rows, `{"type":"%s","payload":%s}`+"\n", pipeCall, payload)
	}
	rows.WriteString(`{"type":"` + pipeCall + `","payload":{}}` + "\n")
	receipt := filepath.Join(t.TempDir(), "receipt.jsonl")
	h.wantExit(9, "bulk", writeFile(t, "rows.jsonl", rows.String()), "--receipt", receipt)
	file, err := os.OpenFile(receipt, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(`{"row":99,"id":"dckap_aaaaaaaaaaaaaaaaaaaaaaaaaa"}` + "\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	count := func(args ...string) (c receiptCount) {
		t.Helper()
		d := h.wantExit(0, append([]string{"status", "--receipt", receipt, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(d.stdout), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := count(); c.Rows != 32 || c.Refused != 1 || c.Tasks["pending"] != 30 || c.Tasks["forgotten"] != 1 {
		t.Errorf("before: %+v", c)
	}
	h.startWorker()
	if c := count("--watch"); c.Tasks["done"] != 30 || c.open() != 0 {
		t.Errorf("at the end: %+v", c)
	}
	wantText(t, "text", h.wantExit(0, "status", "--receipt", receipt).stdout, "rows       32\n", "done       30\n")
}
