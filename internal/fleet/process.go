package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/proctest"
)

const (
	readyTimeout = time.Minute      // many processes may start on few cores
	stopTimeout  = 90 * time.Second // longer than any SHUTDOWN_GRACE that tests set
	tailLines    = 40
)

// Process is a worker process.
type Process struct {
	// Name is the process's name in messages, such as worker-3.
	Name string

	tb      testing.TB
	process *proctest.Process
	log     *processLog

	mu          sync.Mutex
	endExpected bool
	admin       string
}

// start starts the test binary as a worker. It does not wait until the worker is
// ready.
func start(tb testing.TB, name string, environ []string) (*Process, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{
		Name: name,
		tb:   tb,
		log:  newProcessLog(),
	}
	// The command is not bound to the test's context, because the cleanup ends it
	// and reads its log.
	cmd := exec.CommandContext(context.Background(), binary)
	cmd.Env = append([]string{childMark + "=1"}, environ...)
	cmd.Stdout = p.log
	cmd.Stderr = p.log
	if p.process, err = proctest.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		<-p.process.Done()
		p.log.close()
	}()
	return p, nil
}

// waitReady waits until the worker takes tasks.
func (p *Process) waitReady(ctx context.Context) error {
	line, err := p.log.wait(ctx, `"worker is ready"`)
	if err != nil {
		return fmt.Errorf("%s is not ready: %w\n%s", p.Name, err, p.log.tail(tailLines))
	}
	_, rest, _ := strings.Cut(line, `"http":"`)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.admin, _, _ = strings.Cut(rest, `"`)
	return nil
}

// Admin is the host:port of the admin HTTP server.
func (p *Process) Admin() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admin
}

// Log returns what the process has logged so far.
func (p *Process) Log() string {
	return p.log.String()
}

// IsOwner reports whether the owner in a task's record is the process. An owner is
// the host, the process ID and a random text, joined by hyphens.
func (p *Process) IsOwner(owner string) bool {
	parts := strings.Split(owner, "-")
	return len(parts) >= 3 && parts[len(parts)-2] == strconv.Itoa(p.process.PID())
}

// HasEnded reports whether the process has ended a task of the kind.
func (p *Process) HasEnded(k *Kind) bool {
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, `"type":"`+k.Type+`"`) && strings.Contains(line, `"outcome":"`) {
			return true
		}
	}
	return false
}

// WaitLog waits for the first line of the log that contains text and returns it.
func (p *Process) WaitLog(ctx context.Context, text string) (string, error) {
	return p.log.wait(ctx, text)
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} {
	return p.process.Done()
}

// expectEnd records that the end of the process is intended, and reports whether it
// was before.
func (p *Process) expectEnd() (before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.endExpected
	p.endExpected = true
	return before
}

// Kill kills the process as a crash would (SIGKILL), also while it is paused, and
// returns when it has ended.
func (p *Process) Kill() {
	p.tb.Helper()
	p.expectEnd()
	p.check("kill", p.process.Kill())
}

// Terminate sends SIGTERM, once, and does not wait.
func (p *Process) Terminate() {
	p.tb.Helper()
	if !p.expectEnd() {
		p.check("terminate", p.process.Terminate())
	}
}

// Stop stops the process as a deploy would (SIGTERM) and returns its exit code, -1
// if a signal ended it. A process that does not end is killed and fails the test.
func (p *Process) Stop() (exitCode int) {
	p.tb.Helper()
	p.Terminate()
	if err := p.process.WaitOrKill(stopTimeout); err != nil {
		p.tb.Errorf("stop %s: %v", p.Name, err)
	}
	return p.process.State().ExitCode()
}

// Pause freezes the process (SIGSTOP) and returns when it has stopped.
func (p *Process) Pause() {
	p.tb.Helper()
	p.check("pause", p.process.Pause())
}

// Resume continues a paused process.
func (p *Process) Resume() {
	p.tb.Helper()
	p.check("resume", p.process.Resume())
}

func (p *Process) check(what string, err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatalf("%s %s: %v", what, p.Name, err)
	}
}

// close ends the process with the test, and fails the test if the process ended by
// itself or logged what it must not.
func (p *Process) close() {
	p.mu.Lock()
	expected := p.endExpected
	p.mu.Unlock()
	if state := p.process.State(); state != nil && !expected {
		p.tb.Errorf("%s (pid %d) ended by itself: %v", p.Name, p.process.PID(), state)
	}
	p.Kill()
	for _, line := range p.log.forbiddenLines() {
		p.tb.Errorf("%s: %s", p.Name, line)
	}
	if p.tb.Failed() {
		p.tb.Logf(
			"last lines of %s (pid %d):\n%s",
			p.Name,
			p.process.PID(),
			p.log.tail(tailLines),
		)
	}
}
