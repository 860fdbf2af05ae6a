// Package proctest runs child processes for tests, which stop, kill and freeze
// them. The package is for tests only and never linked into a command.
package proctest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

var errNotRunning = errors.New("the process is not running")

// Process is a child process. It receives signals only until it has been waited
// for, so they cannot reach another process with the same ID. Its methods may be
// called from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended

	mu     sync.Mutex
	paused bool
}

// Start starts a child that the kernel kills, where it can, when the test binary
// is killed.
func Start(cmd *exec.Cmd) (*Process, error) {
	dieWithParent(cmd)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// On Linux, the parent of a child is the thread that started it, so this
		// thread must live as long as the child (see dieWithParent).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ExitCode reports how it ended
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID is the process ID.
func (p *Process) PID() int {
	return p.cmd.Process.Pid
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} {
	return p.done
}

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// State describes how the process ended. It is nil until Done is closed.
func (p *Process) State() *os.ProcessState {
	if p.Alive() {
		return nil
	}
	return p.cmd.ProcessState
}

func (p *Process) signal(sig os.Signal) error {
	if !p.Alive() {
		return errNotRunning
	}
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) { // it has ended, and Done is about to be closed
		<-p.done
		return errNotRunning
	}
	return err
}

// Terminate sends SIGTERM and does not wait. A process that has ended is not an
// error.
func (p *Process) Terminate() error {
	if err := p.signal(syscall.SIGTERM); !errors.Is(err, errNotRunning) {
		return err
	}
	return nil
}

// WaitOrKill waits for the end of the process. If that takes longer than limit,
// it kills the process and returns an error.
func (p *Process) WaitOrKill(limit time.Duration) error {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-p.done:
		return nil
	case <-timeout.C:
		return errors.Join(fmt.Errorf("the process did not end within %v", limit), p.Kill())
	}
}

// Kill sends SIGKILL, also to a paused process, and returns when the process has
// ended.
func (p *Process) Kill() error {
	if !p.Alive() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// Pause sends SIGSTOP and waits until the kernel reports the stop: until then the
// process may still do something. Pausing a paused process does nothing.
func (p *Process) Pause() error {
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
		_, err := syscall.Wait4(p.PID(), &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the stop: %w", err)
		case status.Stopped():
			p.paused = true
			return nil
		default:
			return errors.New("the process ended instead of stopping")
		}
	}
}

// Resume sends SIGCONT.
func (p *Process) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	return p.signal(syscall.SIGCONT)
}
