package fleet

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel end the worker when the test binary is killed,
// by a timeout for example, and runs no cleanup.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
