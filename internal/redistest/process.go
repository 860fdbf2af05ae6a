package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const stopTimeout = 15 * time.Second

// process is one run of redis-server. Signals go to it by its id, and only
// while it has not been waited for, so the id cannot be another's.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended

	paused bool
}

func startProcess(binary, dir string, args ...string) (*process, error) {
	log := filepath.Join(dir, "redis.log")
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = out.Close()
	}() // the child has its own
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Stdout = out
	cmd.Stderr = out
	dieWithParent(cmd)
	p := &process{
		cmd:  cmd,
		log:  log,
		done: make(chan struct{}),
	}
	started := make(chan error)
	go func() {
		// For Linux the parent is the thread that started the child: it has to
		// live as long (see dieWithParent).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed ones end with an error, as they should
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	return p, nil
}

func (p *process) pid() int {
	return p.cmd.Process.Pid
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// output is what the server has logged, for the message of a failed test.
func (p *process) output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 4096
	return string(text[max(0, len(text)-most):])
}

func (p *process) signal(sig os.Signal) error {
	if !p.alive() {
		return errors.New("it is not running")
	}
	return p.cmd.Process.Signal(sig)
}

func (p *process) terminate() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	// A paused process takes SIGTERM only when it goes on.
	if err := p.signal(syscall.SIGCONT); err != nil && p.alive() {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(
			fmt.Errorf("it did not end within %v: %s", stopTimeout, p.output()),
			p.kill(),
		)
	}
}

// kill ends it for good, paused or not. A process that has ended is fine.
func (p *process) kill() error {
	if !p.alive() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// pause waits until the kernel reports the stop: SIGSTOP alone may let one
// more command through. It reports each stop once.
func (p *process) pause() error {
	if p.paused {
		return nil
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.pid(), &status, syscall.WUNTRACED, nil)
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

func (p *process) resume() error {
	p.paused = false
	return p.signal(syscall.SIGCONT)
}
