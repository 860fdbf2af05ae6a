package redisconn

import (
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/internal/redistest"
)

// Not parallel: go-redis has one logger for the process.
func TestLogTo(t *testing.T) {
	var out lines
	s := redistest.New(t)
	client := open(t, s.URL(), Producer)
	s.Stop()

	LogTo(zerolog.New(&out))
	for range 3 * logBurst {
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Fatal("a stopped server answered")
		}
	}
	LogTo(zerolog.Nop())
	LogNothingByDefault() // keeps what was chosen
	text := out.String()
	if n := strings.Count(text, "\n"); n == 0 || n > logBurst {
		t.Errorf("%d lines, want 1 to %d:\n%s", n, logBurst, text)
	}
	for _, want := range []string{`"level":"warn"`, `"component":"go-redis"`, "failed to dial"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// lines is a log that go-redis's own goroutines may write to.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
