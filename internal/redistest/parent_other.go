//go:build !linux

package redistest

import "os/exec"

// dieWithParent has no counterpart here: after a killed test binary a server
// may stay behind.
func dieWithParent(*exec.Cmd) {}
