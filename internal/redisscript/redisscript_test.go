package redisscript_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/redistest"
)

func TestReplies(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	tests := []struct {
		name string
		lua  string
		text string
		n    int64
	}{
		{"list of texts", `return {'12', 'x'}`, "12", 12},
		{"list of numbers", `return {12, 13}`, "12", 12},
		{"one text", `return 'x'`, "x", 0},
		{"one number", `return 7`, "7", 7},
		{"negative", `return {-2}`, "-2", -2},
		{"binary", `return {'\0\255'}`, "\x00\xff", 0},
		{"nil element", `return {false, 'x'}`, "", 0},
		{"status", `return redis.status_reply('OK')`, "OK", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := redisscript.New(tt.lua).Run(t.Context(), rdb, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Text(0) != tt.text || r.Int(0) != tt.n || r.Bool(0) != (tt.n != 0) {
				t.Errorf("reply %q: Text %q, Int %d, Bool %v; want %q, %d", r, r.Text(0), r.Int(0), r.Bool(0), tt.text, tt.n)
			}
			if r.Text(9) != "" || r.Int(9) != 0 || r.Millis(9) != 0 {
				t.Error("an element that is missing does not read as zero")
			}
		})
	}
}

func TestDurationsAreNeverNegative(t *testing.T) {
	t.Parallel()
	r := redisscript.Reply{int64(-2), "1500"}
	if r.Millis(0) != 0 || r.Micros(0) != 0 {
		t.Errorf("a negative duration reads as %v and %v, want 0", r.Millis(0), r.Micros(0))
	}
	if r.Millis(1) != 1500*time.Millisecond || r.Micros(1) != 1500*time.Microsecond {
		t.Errorf("1500 reads as %v and %v", r.Millis(1), r.Micros(1))
	}
}

func TestUnusableReplies(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	if r, err := redisscript.New(`return {}`).Run(t.Context(), rdb, nil); err == nil {
		t.Errorf("an empty list was taken as %q", r)
	}
	if r, err := redisscript.New(`return nil`).Run(t.Context(), rdb, nil); !errors.Is(err, redis.Nil) {
		t.Errorf("nil was taken as %q, %v; want redis.Nil", r, err)
	}
	if r, err := redisscript.New(`return redis.error_reply('NO')`).Run(t.Context(), rdb, nil); err == nil {
		t.Errorf("an error was taken as %q", r)
	}
}

func TestNowIsTheTimeOfRedis(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	before := time.Now().Add(-time.Second)
	millis, err := redisscript.New(redisscript.NowMillis, `return {now}`).Run(t.Context(), rdb, nil)
	if err != nil {
		t.Fatal(err)
	}
	micros, err := redisscript.New(redisscript.NowMicros, `return {string.format('%.0f', now)}`).Run(t.Context(), rdb, nil)
	if err != nil {
		t.Fatal(err)
	}
	after := time.Now().Add(time.Second)
	for _, got := range []time.Time{millis.Time(0), time.UnixMicro(micros.Int(0))} {
		if got.Before(before) || got.After(after) {
			t.Errorf("now = %v, want about %v", got, before)
		}
	}
}
