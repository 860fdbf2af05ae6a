package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/produce"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(commandMark) != "" {
		main()
		return
	}
	redisconn.LogTo(zerolog.Nop()) // as main does
	os.Exit(m.Run())
}

// The types and payloads of these tests. A pipe may be called again: the payload
// says that it is idempotent.
const (
	order       = "canary-order-81"
	pipeCall    = "dckap:dynamic:call"
	otpPayload  = `{"idConversation":824541,"values":{"COD1_EMAIL":"canary-82@example.com"},"type":1,"length":6}`
	pipePayload = `{"listener":"` + dckaptest.DemoOrders + `","body":{"order":"` + order + `"},"idempotent":true}`
	waitTimeout = "30s" // for a --wait that is expected to end earlier
)

// harness holds a Redis, the vendors' sandboxes, and the command.
type harness struct {
	t       *testing.T
	fixture *apptest.Fixture
	redis   *redistest.Server
	environ map[string]string
	otp     *danaconnecttest.Sandbox
	dckap   *dckaptest.Sandbox
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	f := apptest.New(t)
	h := &harness{
		t:       t,
		fixture: f,
		redis:   f.Redis,
		environ: map[string]string{"REDIS_URL": f.Redis.URL()},
		otp:     sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes),
		dckap:   sandbox.Find[*dckaptest.Sandbox](f.Sandboxes),
	}
	return h
}

// startWorker starts a worker in this process and stops it when the test ends.
func (h *harness) startWorker() {
	h.t.Helper()
	h.fixture.Environ["HTTP_ADDR"] = ""
	h.fixture.Start(h.t)
}

// orders returns how many calls of the pipe with the tests' order have arrived.
func (h *harness) orders() int {
	n := 0
	for _, r := range h.dckap.Requests(dckaptest.OpCall) {
		if string(r.Body) == `{"order":"`+order+`"}` {
			n++
		}
	}
	return n
}

// result is the result of one run of the command.
type result struct {
	code           int
	stdout, stderr string
}

func (h *harness) run(args ...string) result { return h.runWith(h.t.Context(), nil, args...) }

// runWith runs the command with a context and standard input.
func (h *harness) runWith(ctx context.Context, stdin io.Reader, args ...string) result {
	h.t.Helper()
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, maps.Clone(h.environ), stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// wantExit runs the command and checks its exit code.
func (h *harness) wantExit(code int, args ...string) result {
	h.t.Helper()
	d := h.run(args...)
	if d.code != code {
		h.t.Fatalf("enqueue %q: exit code %d, want %d\nstdout: %s\nstderr: %s", args, d.code, code, d.stdout, d.stderr)
	}
	return d
}

// jsonReport is the object that --json prints.
type jsonReport struct {
	ID, Type, Queue, State, Outcome, Code, Message string
	Duplicate                                      bool
	Attempts                                       int
	Data                                           map[string]any
	History                                        []produce.HistoryEntry
}

func (d result) report(t *testing.T) jsonReport {
	t.Helper()
	var out jsonReport
	dec := json.NewDecoder(strings.NewReader(d.stdout))
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("%v: %q (%s)", err, d.stdout, d.stderr)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("stdout has more than one object: %q", d.stdout)
	}
	return out
}

// wantNothingStored checks that Redis is empty.
func (h *harness) wantNothingStored() {
	h.t.Helper()
	n, err := h.redis.Client().DBSize(context.Background()).Result()
	if err != nil || n != 0 {
		keys, _ := h.redis.Client().Keys(context.Background(), "*").Result()
		h.t.Errorf("%d keys in Redis (%v), want none: %v", n, err, keys)
	}
}

func wantText(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

var volatile = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`[a-z]+_[0-9a-z]{16,}`), "QUEUE_ID"},
	{regexp.MustCompile(`"(at|created|due|usableUntil|next|ended)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`), `"$1":"TIME"`},
	{regexp.MustCompile(`"durationMs":\d+`), `"durationMs":0`},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
}

// golden compares JSON output with a golden file, except for IDs and times.
func golden(t *testing.T, file, text string) {
	t.Helper()
	for _, v := range volatile {
		text = v.find.ReplaceAllString(text, v.put)
	}
	clientstest.Golden(t, "testdata/"+file, []byte(strings.TrimSpace(text)))
}
