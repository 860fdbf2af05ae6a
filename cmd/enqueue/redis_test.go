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
