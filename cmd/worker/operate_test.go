package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// operatorHarness is a Redis with one dead letter and the commands of operators.
type operatorHarness struct {
	t       *testing.T
	redis   *redistest.Server
	environ map[string]string
	dead    string
}

// newOperatorHarness has a passcode for ana@example.com end expired: its time was up
// before any worker ran.
func newOperatorHarness(t *testing.T) *operatorHarness {
	t.Helper()
	h := &operatorHarness{t: t, redis: redistest.New(t)}
	h.environ = map[string]string{"REDIS_URL": h.redis.URL()}
	client, err := tasks.Open(h.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ticket, err := tasks.Enqueue(t.Context(), client, danaconnect.OTPSend{
		IDConversation: 1,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.dead = ticket.ID
	h.bury(ticket.ID)
	return h
}

// bury writes what the end of a dead letter writes.
func (h *operatorHarness) bury(id string) {
	h.t.Helper()
	_, err := h.redis.Client().TxPipelined(h.t.Context(), func(p redis.Pipeliner) error {
		ctx := h.t.Context()
		p.LRem(ctx, "asynq:{otp}:pending", 0, id)
		p.ZAdd(ctx, "asynq:{otp}:archived", redis.Z{Score: float64(time.Now().Unix()), Member: id})
		p.HSet(ctx, "asynq:{otp}:t:"+id, "state", "archived")
		p.HSet(ctx, record.Key("otp", id), "outcome", "expired", "ended", time.Now().UnixMilli())
		p.PExpire(ctx, record.Key("otp", id), time.Hour)
		p.XAdd(ctx, &redis.XAddArgs{Stream: "errand:{otp}:dead", Values: []any{
			"id", id, "type", "danaconnect:otp:send", "outcome", "expired", "code", "", "message", "late\x1b[2J", "attempts", 0,
		}})
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *operatorHarness) run(args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	code = run(h.t.Context(), args, h.environ, &out, &errs)
	return code, out.String(), errs.String()
}

// Each command of an operator ends with the code of its kind, one sentence on stderr, and
// nothing changed.
func TestWrongQuestionsOfOperators(t *testing.T) {
	t.Parallel()
	h := newOperatorHarness(t)
	before := h.redis.Client().DBSize(t.Context()).Val()
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"explain"}, 2, "name a task"},
		{[]string{"explain", h.dead, "--subject", "a"}, 2, "in one way only"},
		{[]string{"explain", "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa"}, 13, "no such task"},
		{[]string{"explain", "nonsense"}, 13, "not a task ID"},
		{[]string{"explain", "--subject", "nobody@example.com"}, 13, "no such task"},
		{[]string{"tasks", "--state", "dead"}, 2, "--state must be one of ended, parked"},
		{[]string{"tasks", "list", "--type", "otp"}, 2, "--type must be one of anna:messenger:alerts"},
		{[]string{"tasks", "--since", "yesterday"}, 2, "must be how long ago"},
		{[]string{"tasks", "--limit", "0"}, 2, "--limit must be from 1"},
		{[]string{"dead-letters", "--queue", "opt"}, 2, "--queue must be one of"},
		{[]string{"dead-letters", "list", "--outcome", "done"}, 2, "--outcome must be one of expired"},
		{[]string{"dead-letters", "show", "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa"}, 13, "no such task"},
		{[]string{"dead-letters", "replay"}, 2, "name the tasks to replay"},
		{[]string{"dead-letters", "replay", h.dead}, 2, "--reason must say why"},
		{[]string{"dead-letters", "replay", "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa", "--reason", "r", "--dry-run"}, 13, "no such task"},
		{[]string{"dead-letters", "replay", h.dead, "--rate", "fast"}, 2, "must be a rate"},
		{[]string{"pause", "opt", "--reason", "r"}, 2, `there is no queue or account "opt"; queues are anna, danaconnect`},
		{[]string{"pause", "otp", "--reason", "r", "--account"}, 2, `there is no account "otp"; no worker has registered`},
		{[]string{"resume", "otp"}, 3, "the queue otp is not paused"},
	} {
		code, _, stderr := h.run(tc.args...)
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		if code != tc.code || !strings.Contains(lines[len(lines)-1], tc.want) || len(lines) > 2 {
			t.Errorf("%q: exit %d, %q; want %d, %q", tc.args, code, stderr, tc.code, tc.want)
		}
	}
	if after := h.redis.Client().DBSize(t.Context()).Val(); after != before {
		t.Errorf("%d keys before, %d after", before, after)
	}
	h.environ = map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}
	for _, command := range [][]string{{"explain", "otp_x"}, {"tasks"}, {"dead-letters"}, {"audit"}} {
		if code, _, stderr := h.run(command...); code != 4 || !strings.Contains(stderr, "REDIS_URL") {
			t.Errorf("%q without Redis: exit %d, %q", command, code, stderr)
		}
	}
}

// The commands print what they found, as text without control characters and as JSON.
func TestCommandsOfOperators(t *testing.T) {
	t.Parallel()
	h := newOperatorHarness(t)
	for _, args := range [][]string{
		{"explain", h.dead},
		{"explain", "--subject", "ANA@example.com"},
		{"dead-letters", "show", h.dead},
		{"tasks"},
		{"tasks", "list", "--subject", "ana@example.com", "--outcome", "expired"},
		{"dead-letters", "list"},
		{"dead-letters", "export", "--queue", "otp"},
		{"dead-letters", "--queue", "otp"},
	} {
		code, text, stderr := h.run(args...)
		if code != 0 || stderr != "" || !strings.Contains(text, h.dead) || strings.Contains(text, "\x1b") {
			t.Errorf("%q: exit %d\n%s%s", args, code, text, stderr)
		}
		code, text, _ = h.run(append(args, "--json")...)
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); code != 0 || err != nil || object["id"] != h.dead {
			t.Errorf("%q --json: exit %d, %v\n%s", args, code, err, text)
		}
	}
	if code, text, stderr := h.run("dead-letters", "replay", h.dead, "--dry-run"); code != 0 ||
		!strings.Contains(stderr, "dry run, nothing changed: 1 replayed") {
		t.Errorf("dry run: exit %d\n%s%s", code, text, stderr)
	}
	code, text, stderr := h.run("dead-letters", "replay", "--outcome", "expired", "--reason", "worker was down", "--rate", "5/s")
	if code != 0 || !strings.Contains(text, h.dead+"  replayed as otp_") || !strings.Contains(stderr, "1 replayed") {
		t.Errorf("replay: exit %d\n%s%s", code, text, stderr)
	}
	if code, text, _ := h.run("dead-letters", "replay", h.dead, "--reason", "again"); code != 3 ||
		!strings.Contains(text, "not replayed: it was replayed as otp_") {
		t.Errorf("replay again: exit %d\n%s", code, text)
	}
	if code, text, _ := h.run("audit", "--since", "1h"); code != 0 || !strings.Contains(text, "worker was down") {
		t.Errorf("audit: exit %d\n%s", code, text)
	}
	if code, text, _ := h.run("audit", "--json"); code != 0 || strings.Count(text, `"verb":"replay"`) != 4 {
		t.Errorf("audit in JSON: exit %d\n%s", code, text)
	}
}
