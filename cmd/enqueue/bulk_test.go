package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/bulk"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

func decodeReceipt(t *testing.T, text string) []bulk.Receipt {
	t.Helper()
	var lines []bulk.Receipt
	for line := range strings.Lines(text) {
		var r bulk.Receipt
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		lines = append(lines, r)
	}
	return lines
}

func decodeSummary(t *testing.T, text string) (s bulk.Summary) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return s
}

func pipeRows(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, `{"type":"dckap:dynamic:call","payload":{"listener":"%s","body":{"order":"bulk-%d"},"idempotent":true}}`+"\n",
			dckaptest.DemoOrders, i)
	}
	return b.String()
}

// Running a file rerun enqueues only the missing rows.
func TestBulkRerunEnqueuesOnlyMissingRows(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	receipt := filepath.Join(t.TempDir(), "receipt.jsonl")
	first := h.wantExit(0, "bulk", writeFile(t, "a.jsonl", pipeRows(1, 200)), "--receipt", receipt, "--json")
	if got, want := decodeSummary(t, first.stdout), (bulk.Summary{Rows: 200, Enqueued: 200}); got != want ||
		first.stderr != "" {
		t.Errorf("got %+v, want %+v; stderr %q", got, want, first.stderr)
	}
	raw, err := os.ReadFile(receipt)
	if err != nil {
		t.Fatal(err)
	}
	lines := decodeReceipt(t, string(raw))
	ids := map[string]bool{}
	for i, line := range lines {
		if line.Row != i+1 || !strings.HasPrefix(line.Key, "sha256:") || line.ID == "" || line.Duplicate ||
			line.Error != "" {
			t.Fatalf("receipt line %d: %+v", i+1, line)
		}
		ids[line.ID] = true
	}
	if len(lines) != 200 || len(ids) != 200 || strings.Contains(string(raw), "bulk-") {
		t.Errorf("%d receipt lines, %d tasks, want 200; the receipt must not hold payloads", len(lines), len(ids))
	}
	if info, err := os.Stat(receipt); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the receipt: %v %v", info.Mode(), err)
	}

	// White space does not matter.
	spaced := strings.NewReplacer(
		`{"listener":`, `{ "listener" : `,
		`{"order":`, `{ "order" : `,
	).Replace(pipeRows(101, 250))
	rerun := h.runWith(t.Context(), strings.NewReader(spaced), "bulk", "-")
	if rerun.code != 0 {
		t.Fatalf("%+v", rerun)
	}
	for i, line := range decodeReceipt(t, rerun.stdout) {
		if line.Duplicate != (i < 100) || line.ID == "" || ids[line.ID] != line.Duplicate {
			t.Fatalf("receipt line %d: %+v", i+1, line)
		}
	}
	wantText(t, "stderr", rerun.stderr, "150 rows: 50 enqueued, 100 duplicates, 0 refused")

	h.startWorker()
	if err := h.dckap.WaitAnswered(clientstest.Within(t), dckaptest.OpCall, 250); err != nil {
		t.Fatal(err)
	}
}

func TestBulkRefusesRows(t *testing.T) {
	t.Parallel()
	const canary = "canary-91"
	long := strings.Repeat(canary, payload.MaxSize/8)
	tests := []struct{ name, row, want string }{
		{"not JSON", `{"type":` + canary, "the row is not JSON"},
		{"no object", `["` + canary + `"]`, "the row must be an object with type, payload and key"},
		{"null", `null`, "the row must be an object with type, payload and key"},
		{"two objects", `{} {}`, "the row is not JSON"},
		{"no type", `{"payload":{"listener":"` + canary + `"}}`, "type is required (or --type)"},
		{
			"unknown type",
			`{"type":"` + canary + `","payload":{}}`,
			"type is not a task type; 'enqueue types' lists them",
		},
		{
			"misspelt type",
			`{"type":"dckap:dynamic:cal","payload":{}}`,
			"type is not a task type; did you mean dckap:dynamic:call?",
		},
		{"no payload", `{"type":"danaconnect:otp:verify"}`, "payload is required"},
		{"payload null", `{"type":"danaconnect:otp:verify","payload":null}`, "the payload must be an object"},
		{
			"bad payload",
			`{"type":"danaconnect:otp:verify","payload":{"otp":5,"x":"` + canary + `"}}`,
			"idRequest is required; otp must be text; x is unknown",
		},
		{
			"unknown field",
			`{"type":"danaconnect:otp:verify","payload":{"idRequest":"1","otp":"` + canary + `"},"in":"1h"}`,
			"in is unknown; a row has type, payload and key",
		},
		{"key is a number", `{"type":"danaconnect:otp:verify","payload":{"idRequest":"1","otp":"2"},"key":7}`, "key must be text"},
		{"key is empty", `{"type":"danaconnect:otp:verify","payload":{"idRequest":"1","otp":"2"},"key":""}`, "key must not be empty"},
		{"twice", `{"type":"danaconnect:otp:verify","type":"danaconnect:otp:verify","payload":{}}`, "type is given twice"},
		{"Latin-1", "{\"type\":\"danaconnect:otp:verify\",\"payload\":{\"otp\":\"Jos\xe9\"}}", "the row must be UTF-8"},
		{
			"too large",
			`{"type":"danaconnect:otp:verify","payload":{"idRequest":"1","otp":"` + strings.Repeat("x", payload.MaxSize) + `"}}`,
			"the payload has 524314 bytes, at most 524288 are allowed",
		},
		{
			"too long",
			`{"type":"danaconnect:otp:verify","payload":{"idRequest":"1","otp":"` + long + `"}}`,
			"the row is longer than 589824 bytes",
		},
		{
			"key of another",
			`{"type":"dckap:dynamic:call","payload":{"listener":"` + canary + `"},"key":"taken"}`,
			"the key is taken by a task with another payload",
		},
	}
	h := newHarness(t)
	h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "taken")
	file := "\n\n" + pipeRows(1, 1)
	for _, tt := range tests {
		file += tt.row + "\n"
	}
	file += "   \n" + pipeRows(2, 2)
	d := h.runWith(t.Context(), strings.NewReader("\xef\xbb\xbf"+strings.TrimSuffix(file, "\n")), "bulk", "-")
	if d.code != 9 {
		t.Fatalf("exit code %d, want 9: %s", d.code, d.stderr)
	}
	lines := decodeReceipt(t, d.stdout)
	if len(lines) != len(tests)+2 || lines[0].ID == "" || lines[len(lines)-1].ID == "" {
		t.Fatalf("%d lines: %s", len(lines), d.stdout)
	}
	for i, tt := range tests {
		if line := lines[i+1]; line.Row != i+2 || !strings.HasPrefix(line.Error, tt.want) || line.ID != "" {
			t.Errorf("%s: %+v, want %q", tt.name, line, tt.want)
		}
	}
	wantText(
		t,
		"stderr",
		d.stderr,
		"row 2 (line 4): the row is not JSON\n",
		"the receipt lists them all",
		fmt.Sprintf("%d rows: 2 enqueued, 0 duplicates, %d refused", len(tests)+2, len(tests)),
	)
	if strings.Contains(d.stdout+d.stderr, "canary") {
		t.Errorf("leaks a canary: %s %s", d.stdout, d.stderr)
	}
}

func TestBulkCSV(t *testing.T) {
	t.Parallel()
	const otp = "danaconnect:otp:send"
	header := "idConversation,values.COD1_PHONE,values.COD1_NAME,type,length,secondsExpiration\n"
	tests := []struct {
		name, taskType, file string
		code                 int
		want                 []string // the error of each row, "" for none
	}{
		{
			"plain",
			otp,
			header + "824541,5215512345678,Ana,1,6,300\n824541,5215512345679,Eva,1,6,300\n",
			0,
			[]string{"", ""},
		},
		{"empty cell is left out", otp, header + "824541,5215512345678,Ana,1,6,\n", 0, []string{""}},
		{
			"quotes and line ends",
			otp,
			header + "824541,1,\"Ana \"\"A\"\"\nof two, lines\",1,6,300\r\n824541,2,Eva,1,6,300",
			0,
			[]string{"", ""},
		},
		{
			"mark, semicolons, blank lines",
			otp,
			"\xef\xbb\xbf\r\n" + strings.ReplaceAll(header, ",", ";") + "\r\n824541;1;Ana,A;1;6;300\r\n\r\n",
			0,
			[]string{""},
		},
		{"tabs", "danaconnect:otp:verify", "idRequest\totp\n251\t004217\n", 0, []string{""}},
		{"one column", pipeCall, "listener\nu1\nu2\n", 0, []string{"", ""}},
		{
			"nested",
			"dinero:contact:create",
			"organizationId,body.Name,body.IsPerson,body.ExternalReference\n" +
				"123456,Ana,true,crm-1\n123456,Eva,true,\" crm-2\"\n",
			9,
			[]string{"", "body.ExternalReference must not begin or end with a space"},
		},
		{
			"bad cells",
			otp,
			header + "824541,1,Ana,1,six,300\n824541,1,Ana,1\n824541,2,Eva,1,6,300\n",
			9,
			[]string{"length must be an integer", "the row has 4 cells, the header has 6", ""},
		},
		{
			"bad quote",
			pipeCall,
			"listener\nu1\na\"b\"\nu2\n",
			9,
			[]string{"", "the row is not valid CSV: its quotes are wrong", ""},
		},
		{
			"open quote",
			pipeCall,
			"listener\nu1\n\"u2\nu3\n",
			9,
			[]string{"", "a quote is never closed"},
		},
		{"Latin-1", pipeCall, "listener\nJos\xe9\nu1\n", 9, []string{"the row must be UTF-8", ""}},
		{
			"long cell",
			pipeCall,
			"listener\n\"" + strings.Repeat("x\n", bulk.MaxRowSize) + "\"\nu2\n",
			9,
			[]string{"the row is longer than 589824 bytes", ""},
		},
		{
			"long line",
			pipeCall,
			"listener\n\"" + strings.Repeat("x", 2*bulk.MaxRowSize) + "\ny\"\nu2\n",
			9,
			[]string{"the row is longer than 589824 bytes", ""},
		},
		{
			"endless quote",
			pipeCall,
			"listener\n\"" + strings.Repeat("x\n", bulk.MaxRowSize),
			9,
			[]string{"the row is longer than 589824 bytes; is a closing quote missing?"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			d := h.runWith(t.Context(), strings.NewReader(tt.file), "bulk", "-", "--type", tt.taskType)
			if d.code != tt.code {
				t.Fatalf("exit code %d, want %d: %s", d.code, tt.code, d.stderr)
			}
			lines := decodeReceipt(t, d.stdout)
			var got []string
			for _, line := range lines {
				got = append(got, line.Error)
				if (line.Error == "") != (line.ID != "") {
					t.Errorf("%+v", line)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The example of every type is the same task from a CSV row as from a JSONL row,
// nested fields included.
func TestBulkCSVOfEveryType(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, info := range all.Vendors.Types() {
		raw, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		header, cells := exampleRow(t, info, raw)
		if len(header) == 0 {
			continue // a type without fields has no columns
		}
		row := fmt.Sprintf(`{"type":%q,"payload":%s}`, info.Type, raw)
		first := h.runWith(t.Context(), strings.NewReader(row), "bulk", "-")
		var file strings.Builder
		if err := csv.NewWriter(&file).WriteAll([][]string{header, cells}); err != nil {
			t.Fatal(err)
		}
		second := h.runWith(t.Context(), strings.NewReader(file.String()), "bulk", "-", "--type", info.Type)
		if first.code != 0 || second.code != 0 {
			t.Errorf("%s: %+v, %+v\n%s", info.Type, first, second, file.String())
			continue
		}
		a, b := decodeReceipt(t, first.stdout)[0], decodeReceipt(t, second.stdout)[0]
		if a.ID == "" || a.Duplicate || b.ID != a.ID || !b.Duplicate {
			t.Errorf("%s: %+v from JSONL, %+v from CSV\n%s", info.Type, a, b, file.String())
		}
	}
}

// exampleRow writes a type's example as a CSV row: one column for each declared
// field that has no fields of its own. What is not text is JSON.
func exampleRow(t *testing.T, info tasks.Info, raw []byte) (header, cells []string) {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	fields := info.Fields()
	for _, f := range fields {
		hasFields := slices.ContainsFunc(fields, func(o payload.Field) bool {
			return strings.HasPrefix(o.Path, f.Path+".")
		})
		value, ok := lookUp(t, doc, f.Path)
		if hasFields || !ok {
			continue
		}
		cell := string(value)
		if value[0] == '"' {
			if err := json.Unmarshal(value, &cell); err != nil {
				t.Fatal(err)
			}
		}
		header = append(header, f.Path)
		cells = append(cells, cell)
	}
	return header, cells
}

func lookUp(t *testing.T, doc map[string]json.RawMessage, path string) (json.RawMessage, bool) {
	t.Helper()
	name, rest, nested := strings.Cut(path, ".")
	value, ok := doc[name]
	if !ok || !nested {
		return value, ok
	}
	var inner map[string]json.RawMessage
	if err := json.Unmarshal(value, &inner); err != nil {
		t.Fatal(err)
	}
	return lookUp(t, inner, rest)
}

// A CSV cell reaches the vendor unchanged.
func TestBulkCSVCellsReachTheVendorUnchanged(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.startWorker()
	file := writeFile(
		t,
		"otp.csv",
		"idConversation,values.COD1_PHONE,values.COD1_NAME,type,length\n824541,0052155,\"Ana, \"\"A\"\"\",1,6\n",
	)
	h.wantExit(0, "bulk", file, "--type", "danaconnect:otp:send")
	if err := h.otp.WaitAnswered(clientstest.Within(t), "send", 1); err != nil {
		t.Fatal(err)
	}
	wantText(
		t,
		"the request",
		string(h.otp.Requests("send")[0].Body),
		`"0052155"`,
		`"Ana, \"A\""`,
		`"idConversation":824541`,
	)
}

func TestBulkMaxErrors(t *testing.T) {
	t.Parallel()
	bad := strings.Repeat("{}\n", 500)
	mixed := strings.Repeat(pipeRows(1, 9)+"{}\n", 50) // 10%
	tests := []struct {
		name, limit, file string
		code              int
		stopped           bool
	}{
		{"none allowed", "0", bad, 9, true},
		{"some allowed", "20", bad, 9, true},
		{"enough allowed", "500", bad, 9, false},
		{"share exceeded", "5%", mixed, 9, true},
		{"share not exceeded", "10%", mixed, 9, false},
		{"all good", "0", pipeRows(1, 40), 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			receipt := filepath.Join(t.TempDir(), "r")
			d := h.wantExit(
				tt.code,
				"bulk",
				writeFile(t, "f.jsonl", tt.file),
				"--max-errors",
				tt.limit,
				"--receipt",
				receipt,
				"--json",
			)
			got := decodeSummary(t, d.stdout)
			if (got.Stopped == "errors") != tt.stopped || (got.Rows < strings.Count(tt.file, "\n")) != tt.stopped {
				t.Errorf("%+v, want stopped: %t", got, tt.stopped)
			}
			raw, err := os.ReadFile(receipt)
			if lines := decodeReceipt(t, string(raw)); err != nil || len(lines) != got.Rows {
				t.Errorf("%d receipt lines for %d rows (%v)", len(lines), got.Rows, err)
			}
		})
	}
}

// stream is a bulk run whose input the test writes and whose receipt it reads
// line by line.
type stream struct {
	in    *io.PipeWriter
	out   *bufio.Scanner
	ended chan result
}

func (h *harness) startStream(ctx context.Context, args ...string) *stream {
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	s := &stream{in: in, out: bufio.NewScanner(out), ended: make(chan result, 1)}
	go func() {
		var stderr bytes.Buffer
		code := run(ctx, append([]string{"bulk", "-"}, args...), h.environ, stdin, stdout, &stderr)
		_ = stdout.Close()
		s.ended <- result{code: code, stderr: stderr.String()}
	}()
	return s
}

// send writes rows and reads their receipt lines.
func (s *stream) send(t *testing.T, rows string) {
	t.Helper()
	if _, err := io.WriteString(s.in, rows); err != nil {
		t.Fatal(err)
	}
	for range strings.Count(rows, "\n") {
		if !s.out.Scan() {
			t.Fatal("the receipt ends early")
		}
	}
}

// Rows are enqueued as they arrive, so memory does not grow with the file.
func TestBulkStreamsAndIsInterrupted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := h.startStream(ctx)
	s.send(t, pipeRows(1, 1))
	s.send(t, pipeRows(2, 101))
	cancel() // while the command waits for the next row
	d := <-s.ended
	if d.code != 130 {
		t.Errorf("exit code %d, want 130", d.code)
	}
	wantText(t, "stderr", d.stderr, "101 rows: 101 enqueued", "interrupted; the receipt lists the enqueued rows")
	if n, err := h.redis.Client().LLen(t.Context(), "asynq:{dckap}:pending").Result(); n != 101 || err != nil {
		t.Errorf("%d tasks in the queue (%v), want 101", n, err)
	}
}

func TestBulkStopsWhenRedisIsLost(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.startStream(t.Context())
	s.send(t, pipeRows(1, 10))
	h.redis.Kill()
	started := time.Now()
	s.send(t, pipeRows(11, 11))
	d := <-s.ended
	if took := time.Since(started); d.code != 4 || took > 3*time.Second {
		t.Errorf("exit code %d after %s, want 4 within 3 s", d.code, took)
	}
	wantText(t, "stderr", d.stderr, "11 rows: 10 enqueued, 0 duplicates, 0 refused, 1 failed", "REDIS_URL")
}

func TestBulkRate(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	started := time.Now()
	h.wantExit(0, "bulk", writeFile(t, "f.jsonl", pipeRows(1, 6)), "--rate", "20/s")
	if took := time.Since(started); took < 250*time.Millisecond {
		t.Errorf("6 rows at 20/s took %s, want at least 250 ms", took)
	}
}

func TestBulkReceiptMustBeWritable(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	file := writeFile(t, "f.jsonl", pipeRows(1, 3))
	wantText(t, "stderr", h.wantExit(2, "bulk", file, "--receipt", file).stderr, "--receipt must not be the input file")
	wantText(
		t,
		"stderr",
		h.wantExit(2, "bulk", file, "--receipt", "/nonexistent/r").stderr,
		"--receipt: open /nonexistent/r",
	)
	h.wantNothingStored()
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"bulk", file}, h.environ, nil, failingWriter{}, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	wantText(t, "stderr", stderr.String(), "write the receipt: disk full")
}

// The errors of files are not those of Redis, although both are numbers of the
// operating system.
func TestFileErrorsAreNotRedisErrors(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	file := writeFile(t, "f.jsonl", pipeRows(1, 3))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatalf("this test needs a full disk, as Linux has one: %v", err)
	}
	t.Cleanup(func() { _ = full.Close() })
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"bulk", file}, h.environ, nil, full, &stderr); code != 1 {
		t.Errorf("a receipt on stdout: exit code %d, want 1", code)
	}
	wantText(t, "stderr", stderr.String(), "write the receipt: write /dev/full: no space left on device")
	d := h.wantExit(1, "bulk", file, "--receipt", "/dev/full")
	wantText(t, "stderr", d.stderr, "write the receipt: write /dev/full: no space left on device")
	unreadable, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unreadable.Close() })
	d = h.runWith(t.Context(), unreadable, "bulk", "-")
	if d.code != 1 || strings.Contains(stderr.String()+d.stderr, "REDIS_URL") {
		t.Errorf("an input that cannot be read: exit code %d, want 1: %s", d.code, d.stderr)
	}
	wantText(t, "stderr", d.stderr, "read the file: ", "is a directory")
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	clock := time.Unix(1000, 0)
	read := &countingReader{from: strings.NewReader(strings.Repeat("x", 50))}
	if _, err := io.ReadAll(read); err != nil {
		t.Fatal(err)
	}
	p := &progress{
		out:     &screen,
		read:    read,
		size:    100,
		now:     func() time.Time { return clock },
		started: clock,
	}
	clock = clock.Add(2 * time.Second)
	p.draw(400, 3)
	p.draw(401, 3) // too soon
	p.clear()
	p.clear()
	want := clearLine + "[###############...............]  50%  400 rows, 200/s, 3 refused" + clearLine
	if screen.String() != want {
		t.Errorf("got %q, want %q", screen.String(), want)
	}
	// Without a terminal, nothing is drawn.
	s := &invocation{stdout: &output{w: io.Discard}, stderr: &screen, now: time.Now}
	newProgress(s, true, read, strings.NewReader("")).draw(1, 0)
	if screen.String() != want {
		t.Errorf("drawn without a terminal: %q", screen.String())
	}
}
