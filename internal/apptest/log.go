package apptest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/strictjson"
)

// Log is a log that can be read while it is written.
type Log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

// NewLog returns an empty Log.
func NewLog() *Log {
	return &Log{written: make(chan struct{}, 1)}
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.written <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Check fails the test if a JSON line names a member twice: readers keep one of the two.
func (l *Log) Check(t testing.TB) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") {
			continue // not of LOG_FORMAT=json, or not written to its end yet
		}
		for _, fault := range strictjson.Faults([]byte(line)) {
			t.Errorf("a log line's member %s %s: %s", fault.Path, fault.Rule, line)
		}
	}
}

// Lines lists the lines that contain the text.
func (l *Log) Lines(text string) []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Wait waits up to 30 seconds until the log contains the text.
func (l *Log) Wait(t testing.TB, text string) {
	t.Helper()
	l.WaitTimes(t, text, 1)
}

// WaitTimes waits up to 30 seconds until n lines of the log contain the text.
func (l *Log) WaitTimes(t testing.TB, text string, n int) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for len(l.Lines(text)) < n {
		select {
		case <-l.written:
		case <-timeout:
			t.Fatalf("the log does not say %q %d times:\n%s", text, n, l)
		}
	}
}
