package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = time.Minute      // many processes start on few, busy cores
	stopTimeout  = 90 * time.Second // longer than any SHUTDOWN_GRACE that tests set
	tailLines    = 40
)

// Process is one worker process. Signals go to it by its id, and only while it
// has not been waited for, so the id cannot be another's.
type Process struct {
	// Name is its place in the site, for messages: worker-3.
	Name string

	tb   testing.TB
	cmd  *exec.Cmd
	log  *journal
	done chan struct{} // closed when it has ended

	mu     sync.Mutex
	asked  bool // to end
	paused bool
	admin  string
}

// start starts the test binary as a worker. It does not wait until it is ready.
func start(tb testing.TB, name string, environ []string) (*Process, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{
		Name: name,
		tb:   tb,
		log:  newJournal(),
		done: make(chan struct{}),
	}
	// Not bound to the test's context: the cleanup ends it, and looks at its log.
	p.cmd = exec.CommandContext(context.Background(), binary)
	p.cmd.Env = append([]string{childMark + "=1"}, environ...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	dieWithParent(p.cmd)
	started := make(chan error)
	go func() {
		// For Linux the parent is the thread that started the child: it has to
		// live as long (see dieWithParent).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer p.log.end()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // its exit code is Stop's matter
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// ready waits until it takes tasks.
func (p *Process) ready(ctx context.Context) error {
	line, err := p.log.wait(ctx, `"worker is ready"`)
	if err != nil {
		return fmt.Errorf(
			"%s does not get ready: %w\n%s",
			p.Name,
			err,
			p.log.tail(tailLines),
		)
	}
	_, rest, _ := strings.Cut(line, `"http":"`)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.admin, _, _ = strings.Cut(rest, `"`)
	return nil
}

// Pid is its process id.
func (p *Process) Pid() int {
	return p.cmd.Process.Pid
}

// Admin is the host:port of its admin HTTP.
func (p *Process) Admin() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admin
}

// Log is all it has logged so far.
func (p *Process) Log() string {
	return p.log.String()
}

// Finished reports whether it has ended a task of that type.
func (p *Process) Finished(taskType string) bool {
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, `"type":"`+taskType+`"`) &&
			strings.Contains(line, `"outcome":"`) {
			return true
		}
	}
	return false
}

// WaitLog waits for a line that contains want, from its start on, and returns
// it.
func (p *Process) WaitLog(ctx context.Context, want string) (string, error) {
	return p.log.wait(ctx, want)
}

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} {
	return p.done
}

func (p *Process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *Process) signal(sig os.Signal) error {
	if !p.alive() {
		return errors.New("it is not running")
	}
	return p.cmd.Process.Signal(sig)
}

// expectEnd notes that its end is wanted, and reports whether it was before.
func (p *Process) expectEnd() (before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, p.asked = p.asked, true
	return before
}

// Kill ends it as a crash would (SIGKILL), paused or not, and returns when it
// is gone.
func (p *Process) Kill() {
	p.tb.Helper()
	p.expectEnd()
	if !p.alive() {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Fatalf("kill %s: %v", p.Name, err)
	}
	<-p.done
}

// Terminate asks it to end (SIGTERM), once, and does not wait; Done tells when
// it has.
func (p *Process) Terminate() {
	p.tb.Helper()
	if p.expectEnd() {
		return
	}
	if err := p.signal(syscall.SIGTERM); err != nil && p.alive() {
		p.tb.Fatalf("terminate %s: %v", p.Name, err)
	}
}

// Stop asks it to end as a deploy would (SIGTERM) and returns its exit code
// when it has, -1 if a signal ended it. One that does not end is killed and
// fails the test.
func (p *Process) Stop() (exit int) {
	p.tb.Helper()
	p.Terminate()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.tb.Errorf("%s did not end within %v of SIGTERM", p.Name, stopTimeout)
		p.Kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// Pause freezes it (SIGSTOP) and returns when it stands still.
func (p *Process) Pause() {
	p.tb.Helper()
	if err := p.pause(); err != nil {
		p.tb.Fatalf("pause %s: %v", p.Name, err)
	}
}

func (p *Process) pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		return nil
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.Pid(), &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the stop: %w", err)
		case status.Stopped():
			p.paused = true
			return nil
		default:
			return errors.New("it ended instead")
		}
	}
}

// Resume lets a frozen process go on.
func (p *Process) Resume() {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	if err := p.signal(syscall.SIGCONT); err != nil {
		p.tb.Fatalf("resume %s: %v", p.Name, err)
	}
}

// close ends it with the test and tells what the test must know of its life.
func (p *Process) close() {
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	if !asked && !p.alive() {
		p.tb.Errorf(
			"%s (pid %d) ended by itself: %v",
			p.Name,
			p.Pid(),
			p.cmd.ProcessState,
		)
	}
	p.Kill()
	for _, line := range p.log.alarms() {
		p.tb.Errorf("%s: %s", p.Name, line)
	}
	if p.tb.Failed() {
		p.tb.Logf(
			"the last lines of %s (pid %d):\n%s",
			p.Name,
			p.Pid(),
			p.log.tail(tailLines),
		)
	}
}
