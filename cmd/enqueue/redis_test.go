package main

import (
	"net/http/httptest"
	"testing"
	"time"
)

// A scheme that does not fit the port is named, singly and in bulk, within the 3 s in
// which an unreachable Redis is reported.
func TestWrongSchemeOfRedis(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	plain := newHarness(t)
	tests := []struct{ name, url, want string }{
		{
			"redis:// to a TLS port",
			"redis://" + secure.Listener.Addr().String(),
			"it speaks TLS; write rediss:// instead of redis:// in REDIS_URL",
		},
		{
			"rediss:// to a plain port",
			"rediss://" + plain.redis.Addr(),
			"it does not answer the TLS handshake; write redis:// instead of rediss:// in REDIS_URL if it has no TLS",
		},
	}
	file := writeFile(t, "f.jsonl", pipeRows(1, 1))
	for _, tt := range tests {
		for _, args := range [][]string{
			{pipeCall, "--payload", pipePayload},
			{"bulk", file},
			{"status", "dckap_6wk3m5q2c4x7y"},
		} {
			t.Run(tt.name+", "+args[0], func(t *testing.T) {
				t.Parallel()
				h := &harness{t: t, environ: map[string]string{"REDIS_URL": tt.url}}
				started := time.Now()
				d := h.wantExit(4, args...)
				wantText(t, "stderr", d.stderr, tt.want)
				if took := time.Since(started); took > 3*time.Second {
					t.Errorf("took %s, want at most 3 s", took)
				}
			})
		}
	}
}

// A queue in which too many tasks wait takes no more: one sentence, and the exit code of a
// Redis that cannot store now. A file stops at the first row and can be run again.
func TestAFullQueueTakesNoMore(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.environ["QUEUE_LIMIT"] = "1"
	h.wantExit(0, pipeCall, "--payload", pipePayload)
	const want = "enqueue: not stored: 1 tasks of the queue dckap wait, and QUEUE_LIMIT allows 1\n"
	if d := h.wantExit(4, pipeCall, "--payload", pipePayload); d.stderr != want || d.stdout != "" {
		t.Errorf("%+v, want %q", d, want)
	}
	d := h.wantExit(4, "bulk", "--json", writeFile(t, "f.jsonl", pipeRows(1, 1)))
	wantText(t, "stderr", d.stderr, want)
	wantText(t, "stdout", d.stdout, `"enqueued":0`, `"failed":1`, `"stopped":"redis"`)
	h.environ["QUEUE_LIMIT"] = "0"
	wantText(t, "stderr", h.wantExit(2, pipeCall, "--payload", pipePayload).stderr, "QUEUE_LIMIT: must be a whole number")
}
