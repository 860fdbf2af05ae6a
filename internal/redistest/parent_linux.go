package redistest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel end the server when the test binary is killed,
// by a timeout for example, and runs no cleanup.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
