package apptest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
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

// Wait waits up to 30 seconds until the log contains the text.
func (l *Log) Wait(t testing.TB, text string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.written:
		case <-timeout:
			t.Fatalf("the log does not say %q:\n%s", text, l)
		}
	}
}
