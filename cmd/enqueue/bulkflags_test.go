package main

import (
	"strings"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/bulk"
)

// A dry run checks the rows as a run does, without Redis, and stores nothing.
func TestBulkDryRun(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
	row := func(listener, key string) string {
		return `{"type":"dckap:dynamic:call","payload":{"listener":"` + listener + `"},"key":"` + key + `"}` + "\n"
	}
	long := `{"type":"dckap:dynamic:call","payload":{"listener":"a","body":"\ud800"},"key":"k5"}` + "\n"
	file := row("a", "k1") + row("a", "k1") + row("b", "k1") + row("b/c", "k2") + row("a", strings.Repeat("k", 257)) + long
	d := h.runWith(t.Context(), strings.NewReader(file), "bulk", "-", "--dry-run")
	if d.code != exitRowsRefused {
		t.Fatalf("%+v", d)
	}
	wantText(t, "stderr", d.stderr, "6 rows: 1 valid, 1 duplicates, 4 refused", "dry run: nothing was enqueued")
	want := []bulk.Receipt{
		{Row: 1, Key: "k1"},
		{Row: 2, Key: "k1", Duplicate: true},
		{Row: 3, Key: "k1", Error: "the key is taken by a task with another payload"},
		{Row: 4, Error: "listener must be a listener's id"},
		{Row: 5, Error: "the key must have at most 256 bytes"},
		{Row: 6, Error: "payload.body is not valid Unicode text"},
	}
	for i, line := range decodeReceipt(t, d.stdout) {
		w := want[i]
		if line.Row != w.Row || line.ID != "" || line.Duplicate != w.Duplicate || !strings.HasPrefix(line.Error, w.Error) ||
			(w.Error == "") != (line.Error == "") {
			t.Errorf("got %+v, want %+v", line, w)
		}
	}
	d = h.runWith(t.Context(), strings.NewReader(row("a", "k1")+row("a", "k2")), "bulk", "-", "--dry-run", "--json", "--receipt", t.TempDir()+"/r")
	if got := decodeSummary(t, d.stdout); d.code != exitOK || got != (bulk.Summary{Rows: 2, Valid: 2}) {
		t.Errorf("exit code %d, %+v", d.code, got)
	}
	h.wantNothingStored()
}

// What a task may be told on the command line holds for every row of a file.
func TestBulkFlagsHoldForEveryRow(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	file := writeFile(t, "f.jsonl", pipeRows(1, 2))
	for _, line := range decodeReceipt(t, h.wantExit(0, "bulk", file, "--in", "1h", "--usable-for", "90s", "--notify").stdout) {
		if r := h.wantExit(0, "status", line.ID, "--json").report(t); r.State != "scheduled" {
			t.Errorf("%s is %s", line.ID, r.State)
		}
	}
	opts, err := taskFlags{Notify: true}.options(time.Now())
	var job broker.Job
	for _, opt := range opts {
		opt(&job)
	}
	if err != nil || !job.Notify {
		t.Errorf("--notify tells nobody: %+v, %v", job, err)
	}
	d := h.wantExit(exitUsage, "bulk", file, "--in", "-5m", "--usable-for", "0s")
	wantText(t, "stderr", d.stderr, "--in must not be negative", "--usable-for must be positive")
}

// A person who is hired again can leave again: the file says what tells the times apart.
func TestBulkKeyColumn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const inactivate = "anna:user:inactivate"
	run := func(code int, file string, args ...string) []bulk.Receipt {
		t.Helper()
		d := h.runWith(t.Context(), strings.NewReader(file), append([]string{"bulk", "-", "--type", inactivate}, args...)...)
		if d.code != code {
			t.Fatalf("%+v", d)
		}
		return decodeReceipt(t, d.stdout)
	}
	first := run(0, "userId,Case no.\nu1,c-1\n", "--key-column", "Case no.")
	again := run(0, "Case no.;userId\nc-1;u1\nc-2;u1\n", "--key-column", "Case no.")
	if first[0].Key != "c-1" || again[0].ID != first[0].ID || !again[0].Duplicate || again[1].Duplicate || again[1].Key != "c-2" {
		t.Errorf("%+v, then %+v", first, again)
	}
	if own := run(0, "userId\nu1\n", "--key-column", "userId"); own[0].Key != "u1" || own[0].Duplicate {
		t.Errorf("%+v", own)
	}
	if empty := run(exitRowsRefused, "userId,k\nu1, \n", "--key-column", "k"); empty[0].Error != "k is empty, and is the key (--key-column)" {
		t.Errorf("%+v", empty)
	}
	for _, tt := range []struct{ file, want string }{
		{"userId,k\nu1,1\n", "exactly one column must be named key, as --key-column says"},
		{"userId,key,key\nu1,1,2\n", "exactly one column must be named key, as --key-column says"},
		{`{"payload":{"userId":"u1"}}`, "--key-column is for CSV; a row of JSONL has its key beside its payload"},
	} {
		d := h.runWith(t.Context(), strings.NewReader(tt.file), "bulk", "-", "--type", inactivate, "--key-column", "key")
		if d.code != exitRefused && d.code != exitUsage || !strings.Contains(d.stderr, tt.want) {
			t.Errorf("%q: %+v", tt.file, d)
		}
	}
}
