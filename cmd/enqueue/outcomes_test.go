package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/produce"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

func TestWaitEndsWithTheOutcome(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		fault   sandbox.Fault
		args    []string
		code    int
		outcome string
		vendor  string // code
	}{
		{"done", sandbox.Fault{}, []string{"danaconnect:otp:send", "--payload", otpPayload}, 0, "done", ""},
		{
			"declined",
			sandbox.Fault{Op: danaconnecttest.OpVerify, Code: "04"},
			[]string{"danaconnect:otp:verify", "--set", "idRequest=251", "--set", "otp=004217"},
			5,
			"declined",
			"04",
		},
		{
			"unknown",
			sandbox.Fault{Op: danaconnecttest.OpSend, Drop: true, AfterEffect: true},
			[]string{"danaconnect:otp:send", "--payload", otpPayload},
			7,
			"unknown",
			"",
		},
		{
			"invalid",
			sandbox.Fault{},
			[]string{"danaconnect:otp:send", "--payload", strings.Replace(otpPayload, "824541", "1", 1)},
			11,
			"invalid",
			"10",
		},
		{
			"failed",
			sandbox.Fault{Op: danaconnecttest.OpSend, Status: 503, RetryAfter: "120"},
			[]string{"danaconnect:otp:send", "--payload", otpPayload},
			11,
			"failed",
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			if tt.fault.Op != "" {
				h.otp.Inject(tt.fault)
			}
			h.startWorker()
			got := h.wantExit(tt.code, append(tt.args, "--wait", waitTimeout, "--json")...).report(t)
			if got.State != "ended" || got.Outcome != tt.outcome || got.Code != tt.vendor || got.Attempts != 1 ||
				got.Duplicate {
				t.Errorf("got %+v", got)
			}
			if tt.code == 0 && h.otp.Code(got.Data["idRequest"].(string)) == "" {
				t.Errorf("the vendor does not know %v", got.Data)
			}
			if calls := h.otp.Calls(danaconnecttest.OpSend) + h.otp.Calls(danaconnecttest.OpVerify); calls != 1 {
				t.Errorf("%d calls, want 1", calls)
			}
		})
	}
}

func TestParkedWhenTheWaitEnds(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.fixture.Remove("DANACONNECT_CLIENT_") // its queue also has tasks of the other account
	h.startWorker()
	d := h.wantExit(6, "danaconnect:api:call", "--set", "method=GET", "--set", "path=records",
		"--wait", "1500ms", "--json")
	if got := d.report(t); got.State != "parked" || got.Outcome != "" ||
		!strings.Contains(got.Message, "no credentials") {
		t.Errorf("got %+v", got)
	}
	wantText(t, "stderr", d.stderr, "parked", "no credentials")
}

// A 429 was not executed: the task stays parked and ends only with its budget.
func TestParkedAfter429(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.otp.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Status: 429, RetryAfter: "60"})
	h.startWorker()
	d := h.wantExit(6, "danaconnect:otp:send", "--payload", otpPayload, "--wait", "1500ms", "--json")
	if got := d.report(t); got.State != "parked" || got.Outcome != "" ||
		!strings.Contains(got.Message, "too many requests") {
		t.Errorf("got %+v", got)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	args := []string{pipeCall, "--payload", pipePayload, "--usable-for", "1ms", "--wait", waitTimeout, "--json"}
	_, ended := h.startWaiting(t.Context(), args...)
	h.startWorker()
	d := <-ended
	if got := d.report(t); d.code != 8 || got.Outcome != "expired" || got.Attempts != 0 {
		t.Errorf("exit code %d, want 8; got %+v", d.code, got)
	}
	if n := h.dckap.Calls(dckaptest.OpCall); n != 0 {
		t.Errorf("%d vendor calls, want none", n)
	}
}

func TestWaitTimesOut(t *testing.T) {
	t.Parallel()
	tests := []struct{ state, flag string }{
		{"pending", "--notify"},
		{"scheduled", "--in=10m"},
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			d := h.wantExit(10, pipeCall, "--payload", pipePayload, "--wait", "300ms", "--json", tt.flag)
			if got := d.report(t); got.State != tt.state || got.Outcome != "" || got.ID == "" {
				t.Errorf("got %+v", got)
			}
			wantText(t, "stderr", d.stderr, "the wait of 300ms is over", tt.state)
		})
	}
}

// startWaiting starts the command and returns the task's ID once it is waiting.
func (h *harness) startWaiting(ctx context.Context, args ...string) (id string, ended <-chan result) {
	h.t.Helper()
	reader, writer := io.Pipe()
	ids, results := make(chan string, 1), make(chan result, 1)
	go func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			if found := regexp.MustCompile(`[a-z]+_[0-9a-z]{16,} is stored`).FindString(lines.Text()); found != "" {
				ids <- strings.Fields(found)[0]
			}
		}
	}()
	go func() {
		var stdout bytes.Buffer
		code := run(ctx, args, h.environ, strings.NewReader(""), &stdout, writer)
		_ = writer.Close()
		results <- result{code: code, stdout: stdout.String()}
	}()
	select {
	case id = <-ids:
	case d := <-results:
		h.t.Fatalf("enqueue %q ended with %d before it waited: %s", args, d.code, d.stdout)
	}
	return id, results
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	args := []string{pipeCall, "--payload", pipePayload, "--wait", waitTimeout, "--json"}
	id, ended := h.startWaiting(t.Context(), args...)
	if got := h.wantExit(0, "cancel", id, "--json").report(t); got.ID != id || got.State != "ended" ||
		got.Outcome != "cancelled" ||
		got.Type != pipeCall {
		t.Errorf("cancel says %+v", got)
	}
	d := <-ended
	if got := d.report(t); d.code != 12 || got.Outcome != "cancelled" {
		t.Errorf("the wait ended with %d %+v, want 12", d.code, got)
	}
	h.wantExit(0, "cancel", id) // cancelling twice is not an error

	h.startWorker()
	finished := h.wantExit(0, pipeCall, "--payload", pipePayload, "--wait", waitTimeout, "--json").report(t)
	wantText(t, "stderr", h.wantExit(13, "cancel", finished.ID).stderr, finished.ID, "can no longer be cancelled", "done")
	if n := h.dckap.Effects(dckaptest.OpCall); n != 1 {
		t.Errorf("%d calls, want 1: the cancelled task ran", n)
	}
}

// The ID that asynq gave to the task of a plain client does not name a queue.
func TestThePlainTaskOfAsynqsClient(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	client := asynq.NewClientFromRedisClient(h.redis.Client())
	enqueue := func() string {
		t.Helper()
		info, err := client.Enqueue(asynq.NewTask(pipeCall, []byte(pipePayload)), asynq.Queue("dckap"))
		if err != nil {
			t.Fatal(err)
		}
		return info.ID
	}
	id := enqueue()
	if got := h.wantExit(0, "status", id, "--json").report(t); got.State != "pending" || got.Type != pipeCall {
		t.Errorf("status says %+v", got)
	}
	if got := h.wantExit(0, "cancel", id, "--json").report(t); got.State != "ended" || got.Outcome != "cancelled" {
		t.Errorf("cancel says %+v", got)
	}
	h.startWorker()
	id = enqueue()
	testwait.Eventually(t, 30*time.Second, "the task is done", func() bool {
		return h.wantExit(0, "status", id, "--json").report(t).Outcome == "done"
	})
	wantText(t, "stderr", h.wantExit(13, "cancel", id).stderr, id, "can no longer be cancelled", "done")
	if n := h.dckap.Effects(dckaptest.OpCall); n != 1 {
		t.Errorf("%d calls, want 1: the cancelled task ran", n)
	}
}

func TestNoSuchTask(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	commands := [][]string{
		{"status", "otp-aaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"cancel", "otp-aaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"status", "nonsense"},
		{"cancel", "NONSENSE*"},
	}
	for _, args := range commands {
		wantText(t, "stderr", h.wantExit(13, args...).stderr, "task")
	}
	h.wantNothingStored()
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	ctx, cancel := context.WithCancel(t.Context())
	id, ended := h.startWaiting(ctx, pipeCall, "--payload", pipePayload, "--wait", waitTimeout, "--json")
	cancel()
	d := <-ended
	if got := d.report(t); d.code != 130 || got.ID != id || got.State != "pending" {
		t.Errorf("got %d %+v, want 130 with the task's ID", d.code, got)
	}

	fresh := newHarness(t)
	blocked, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	if d := fresh.runWith(ctx, blocked, pipeCall, "--payload", "-"); d.code != 130 || d.stdout != "" {
		t.Errorf("while reading: %+v", d)
	}
	if d := fresh.runWith(ctx, nil, pipeCall, "--payload", pipePayload); d.code != 130 || d.stdout != "" {
		t.Errorf("before storing: %+v", d)
	}
	fresh.wantNothingStored()
}

// A task whose answer was lost is not sent twice, however often it is enqueued.
func TestUnknownKeepsItsKey(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.otp.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Drop: true, AfterEffect: true})
	h.startWorker()
	args := []string{"danaconnect:otp:send", "--payload", otpPayload, "--key", "order-1", "--wait", waitTimeout, "--json"}
	ended := h.wantExit(7, args...)
	first := ended.report(t)
	wantText(t, "stderr", ended.stderr, first.ID+" is stored; waiting", "look at the vendor first", "another --key")
	again := h.wantExit(7, args...)
	second := again.report(t)
	if strings.Contains(again.stderr, "waiting") {
		t.Errorf("nothing is to be waited for: %s", again.stderr)
	}
	if first.Duplicate || !second.Duplicate || second.ID != first.ID {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if n := h.otp.Calls(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d calls, want exactly 1", n)
	}
	history := h.wantExit(0, "status", first.ID, "--json").report(t).History
	if len(history) != 1 || history[0].Class != "unknown" {
		t.Errorf("history %+v", history)
	}

	// The record expires before the key, which still holds the outcome.
	if err := h.redis.Client().Del(t.Context(), "errand:{otp}:task:"+first.ID).Err(); err != nil {
		t.Fatal(err)
	}
	expired := h.wantExit(7, args...)
	if got := expired.report(t); got.ID != first.ID || got.State != "ended" || got.Outcome != "unknown" || !got.Duplicate {
		t.Errorf("without its record: %+v", got)
	}
	wantText(t, "stderr", expired.stderr, "no longer kept")
	if got := h.wantExit(0, args[:5]...); !strings.Contains(got.stdout, "unknown") {
		t.Errorf("without --wait: %+v", got)
	}
}

func TestParallelProducersCauseOneCall(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.startWorker()
	results := make([]result, 20)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			results[i] = h.run(
				"danaconnect:otp:send",
				"--payload",
				otpPayload,
				"--key",
				"order-1",
				"--wait",
				waitTimeout,
				"--json",
			)
		})
	}
	wg.Wait()
	ids, newTasks := map[string]bool{}, 0
	for _, d := range results {
		got := d.report(t)
		ids[got.ID] = true
		if !got.Duplicate {
			newTasks++
		}
		if d.code != 0 || got.Outcome != "done" || got.Data["idRequest"] == "" {
			t.Errorf("%d %+v (%s)", d.code, got, d.stderr)
		}
	}
	if len(ids) != 1 || newTasks != 1 || h.otp.Calls(danaconnecttest.OpSend) != 1 {
		t.Errorf(
			"%d tasks, %d of them new, %d calls; want 1 of each",
			len(ids),
			newTasks,
			h.otp.Calls(danaconnecttest.OpSend),
		)
	}
}

func TestSealedResult(t *testing.T) {
	t.Parallel()
	const keys = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	h := newHarness(t)
	h.fixture.Environ["ENCRYPTION_KEYS"] = keys
	h.startWorker()
	d := h.wantExit(0, "danaconnect:otp:send", "--payload", otpPayload, "--wait", waitTimeout, "--json")
	got := d.report(t)
	if got.Outcome != "done" || got.Data != nil {
		t.Errorf("got %+v", got)
	}
	wantText(t, "stderr", d.stderr, "ENCRYPTION_KEYS is missing")
	wantText(t, "text", h.wantExit(0, "status", got.ID).stdout, "done", "(sealed)")

	h.environ["ENCRYPTION_KEYS"] = keys
	if got := h.wantExit(0, "status", got.ID, "--json").report(t); got.Data["idRequest"] == nil {
		t.Errorf("with the keys: %+v", got)
	}
	sealed := h.wantExit(0, "danaconnect:otp:send", "--payload", otpPayload, "--wait", waitTimeout, "--json").report(t)
	if sealed.Data["idRequest"] == nil {
		t.Errorf("sealed payload: %+v", sealed)
	}
}

func TestRedisUnreachable(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	file := writeFile(t, "rows.jsonl", `{"type":"dckap:dynamic:call","payload":`+pipePayload+"}\n")
	commands := [][]string{
		{pipeCall, "--payload", pipePayload},
		{pipeCall, "--payload", pipePayload, "--key", "k", "--wait", "1m"},
		{"status", "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"cancel", "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"bulk", file},
	}
	for _, failure := range []struct {
		name   string
		inject func()
	}{{"frozen", h.redis.Pause}, {"gone", h.redis.Kill}} {
		failure.inject()
		var wg sync.WaitGroup
		for _, args := range commands {
			wg.Go(func() {
				started := time.Now()
				d := h.run(args...)
				if took := time.Since(started); d.code != 4 || took > 3*time.Second {
					t.Errorf("%s: %q: exit code %d after %s, want 4 within 3 s", failure.name, args, d.code, took)
				}
				wantText(t, "stderr", d.stderr, "REDIS_URL")
			})
		}
		wg.Wait()
	}
}

// If Redis is unreachable at the end of the wait, the command still prints the ID.
func TestRedisIsLostDuringTheWait(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	id, ended := h.startWaiting(t.Context(), pipeCall, "--payload", pipePayload, "--wait", "1s", "--json")
	h.redis.Kill()
	if d := <-ended; d.code != 4 || d.report(t).ID != id {
		t.Errorf("got %+v, want 4 and %s", d, id)
	}
}

// A server that is not Redis counts as an unreachable Redis.
func TestServerIsNotRedis(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	web := clientstest.Serve(t, h.dckap, dckaptest.Mount)
	h.environ = map[string]string{"REDIS_URL": strings.TrimSuffix(strings.Replace(web, "http", "redis", 1), dckaptest.Mount)}
	wantText(t, "stderr", h.wantExit(4, pipeCall, "--payload", pipePayload).stderr, "REDIS_URL")
}

// A Redis that cannot store a task now may do so later, hence exit code 4.
func TestRedisCannotStoreNow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, setup string }{
		{"full", "CONFIG SET maxmemory 1"},
		{"too few replicas", "CONFIG SET min-replicas-to-write 1"},
		{"a replica", "REPLICAOF 127.0.0.1 1"},
		{"no keys", "ACL SETUSER worker on >pw &* +@all"},
		{"no keys of asynq", "ACL SETUSER worker on >pw ~errand:* &* +@all"},
		{"no scripts", "ACL SETUSER worker on >pw ~* &* +@all -@scripting"},
		{"no writes", "ACL SETUSER worker on >pw ~* &* +@all -@write"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.wantExit(0, pipeCall, "--payload", pipePayload)
			var setup []any
			for _, word := range strings.Fields(tc.setup) {
				setup = append(setup, word)
			}
			if err := h.redis.Client().Do(t.Context(), setup...).Err(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(tc.setup, "SETUSER worker") {
				h.environ["REDIS_URL"] = "redis://worker:pw@" + h.redis.Addr()
			}
			wantText(t, "stderr", h.wantExit(4, pipeCall, "--payload", pipePayload).stderr, "REDIS_URL")
			file := writeFile(t, "f.jsonl", pipeRows(1, 50))
			wantText(t, "stderr", h.wantExit(4, "bulk", file).stderr, "0 enqueued", "failed")
		})
	}
}

func TestOutputCannotBeWritten(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"types"}, nil, strings.NewReader(""), failingWriter{}, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	wantText(t, "stderr", stderr.String(), "cannot write the output: disk full")
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestJSONShapes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	golden(
		t,
		"scheduled.json",
		h.wantExit(0, pipeCall, "--payload", pipePayload, "--in", "1h", "--json").stdout,
	)
	golden(
		t,
		"pending.json",
		h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "k", "--json").stdout,
	)
	golden(
		t,
		"duplicate.json",
		h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "k", "--json").stdout,
	)
	held := h.otp.Hold(danaconnecttest.OpSend)
	defer held.Release()
	h.startWorker()
	// Redis was just started and has tasks, so the worker sends nothing for 5 s: others
	// may have to say what Redis has lost.
	running := h.wantExit(10, "danaconnect:otp:send", "--payload", otpPayload, "--wait", "8s", "--json")
	golden(t, "running.json", running.stdout)
	held.Release()
	if err := h.otp.WaitAnswered(clientstest.Within(t), danaconnecttest.OpSend, 1); err != nil {
		t.Fatal(err)
	}
	golden(
		t,
		"done.json",
		h.wantExit(0, "danaconnect:otp:send", "--payload", otpPayload, "--wait", waitTimeout, "--json").stdout,
	)
	ended := h.wantExit(0, pipeCall, "--payload", pipePayload, "--wait", waitTimeout, "--json")
	golden(t, "status.json", h.wantExit(0, "status", ended.report(t).ID, "--json").stdout)
}

// A task that is done and returns nothing has null as its data.
func TestDoneWithoutData(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	inv := &invocation{stdout: &output{w: &stdout}}
	r := &produce.Report{ID: "QUEUE_ID"}
	r.SetStatus(&tasks.Status{
		Type:     pipeCall,
		Queue:    "dckap",
		State:    tasks.Ended,
		Outcome:  tasks.Done,
		Attempts: 1,
	})
	inv.printReport(r, true)
	golden(t, "done-without-data.json", stdout.String())

	h := newHarness(t)
	h.startWorker()
	for _, info := range all.Vendors.Types() {
		if _, none := info.Example.(tasks.Task[tasks.None]); !none {
			continue
		}
		raw, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		d := h.wantExit(0, info.Type, "--payload", string(raw), "--wait", waitTimeout, "--json")
		if got := d.report(t); got.Outcome != "done" || !strings.Contains(d.stdout, `"data":null`) {
			t.Errorf("%s: %s", info.Type, d.stdout)
		}
	}
}
