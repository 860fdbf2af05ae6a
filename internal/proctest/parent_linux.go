package proctest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the child when the test binary is killed,
// by a timeout for example, and so runs no cleanup.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
