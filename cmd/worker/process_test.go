package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"errand.internal/clients/clientstest"
)

// lineWaiter is the log of a process. It finds the first line with a substring.
type lineWaiter struct {
	substring string
	found     chan string

	mu   sync.Mutex
	text strings.Builder
	done bool
}

func (l *lineWaiter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	for line := range strings.Lines(l.text.String()) {
		if !l.done && strings.HasSuffix(line, "\n") && strings.Contains(line, l.substring) {
			l.done = true
			l.found <- line
		}
	}
	return len(p), nil
}

// wait returns the line.
func (l *lineWaiter) wait(t *testing.T) string {
	t.Helper()
	ctx := clientstest.Within(t)
	select {
	case line := <-l.found:
		return line
	case <-ctx.Done():
		t.Fatalf("the log has no line with %s: %v", l.substring, ctx.Err())
		return ""
	}
}

// residentKB returns the resident memory of a process, or 0 on systems other than
// Linux, which CI runs on.
func residentKB(t *testing.T, pid int) (kb int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "VmRSS:") {
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("resident: %d KiB", kb)
	return kb
}
