package broker

import (
	"fmt"
	"runtime/debug"
	"sync"
)

const (
	asynqModule = "github.com/hibiken/asynq"
	// asynqVersion is the release of asynq that this package knows: doc.go lists what it
	// takes for granted about it.
	asynqVersion = "v0.26.0"
)

// CheckAsynq returns an error if this program is built with another release of asynq
// than the one that this package knows. A program that does not say, such as a test,
// passes.
var CheckAsynq = sync.OnceValue(func() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	return checkAsynq(info.Deps)
})

func checkAsynq(modules []*debug.Module) error {
	for _, m := range modules {
		if m.Path != asynqModule {
			continue
		}
		built := m.Version
		if m.Replace != nil {
			built = m.Replace.Path + " " + m.Replace.Version
		}
		if built == asynqVersion {
			return nil
		}
		return fmt.Errorf(
			"this program is built with asynq %s, and Errand works with %s only: "+
				"set it with \"go get %s@%s\" and build again",
			built, asynqVersion, asynqModule, asynqVersion,
		)
	}
	return nil
}
