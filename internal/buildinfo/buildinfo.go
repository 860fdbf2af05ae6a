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

// Text is one line: version, commit, Go version.
func Text() string {
	commit := Commit
	if commit == "" {
		commit = "unknown commit"
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					commit = s.Value
				}
			}
		}
	}
	return fmt.Sprintf("errand %s (%s) %s", Version, commit, runtime.Version())
}
