package proctest

import (
	"os/exec"
	"testing"
	"time"
)

func start(t *testing.T) *Process {
	t.Helper()
	p, err := Start(exec.CommandContext(t.Context(), "sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestStartReportsAMissingProgram(t *testing.T) {
	t.Parallel()
	if p, err := Start(exec.CommandContext(t.Context(), "/nonexistent/program")); err == nil {
		t.Errorf("Start = %v, want an error", p)
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	p := start(t)
	if !p.Alive() || p.State() != nil {
		t.Fatal("the process is not running")
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitOrKill(time.Minute); err != nil {
		t.Fatal(err)
	}
	if p.Alive() || p.State() == nil {
		t.Error("the process has ended and is still alive")
	}
	if err := p.Terminate(); err != nil {
		t.Errorf("Terminate of a process that has ended: %v", err)
	}
}

func TestPausedProcessIgnoresSIGTERMUntilResumed(t *testing.T) {
	t.Parallel()
	p := start(t)
	for range 2 { // pausing twice is the same as once
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Fatal("a paused process has ended")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitOrKill(time.Minute); err != nil {
		t.Error(err)
	}
}

func TestWaitOrKillKillsAfterTheLimit(t *testing.T) {
	t.Parallel()
	p := start(t)
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitOrKill(time.Millisecond); err == nil {
		t.Error("WaitOrKill = nil for a process that did not end")
	}
	if p.Alive() {
		t.Error("the process is still alive")
	}
	if err := p.Resume(); err == nil {
		t.Error("Resume = nil for a process that has ended")
	}
}
