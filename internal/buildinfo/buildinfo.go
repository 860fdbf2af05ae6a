// Package buildinfo tells which release of Errand a program is.
package buildinfo

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version and Commit are set when a release is built (-ldflags -X).
var (
	Version = "dev"
	Commit  = ""
)

// Revision is the commit of the build.
func Revision() string {
	if Commit != "" {
		return Commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown commit"
}

// Text is one line: version, commit, Go version.
func Text() string {
	return fmt.Sprintf("errand %s (%s) %s", Version, Revision(), runtime.Version())
}
