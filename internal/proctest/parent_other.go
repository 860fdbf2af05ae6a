//go:build !linux

package proctest

import "os/exec"

// dieWithParent has no counterpart on this system: a child may outlive a killed
// test binary.
func dieWithParent(*exec.Cmd) {}
