package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// lines waits for a line of a process' log.
type lines struct {
	mu    sync.Mutex
	text  strings.Builder
	want  string
	found chan string
	done  bool
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	for line := range strings.Lines(l.text.String()) {
		if !l.done && strings.HasSuffix(line, "\n") && strings.Contains(line, l.want) {
			l.done = true
			l.found <- line
		}
	}
	return len(p), nil
}

// residentKB is the memory of a process that is in RAM; 0 where the system does
// not tell (the size is then a matter for CI, which runs Linux).
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
