package tasks

import (
	"slices"

	"errand.internal/internal/payload"
)

// Again says what becomes of a task whose attempt may have happened.
type Again string

// What may become of it.
const (
	Never        Again = "never"         // it ends unknown
	Always       Again = "always"        // it runs again
	IfIdempotent Again = "if idempotent" // the payload's field idempotent says which
	IfNotFound   Again = "if not found"  // it is looked for, and runs again only if it is not there
)

// Again tells which of these holds for the type.
func (i Info) Again() Again {
	switch {
	case slices.ContainsFunc(i.Fields(), func(f payload.Field) bool {
		return f.Path == "idempotent"
	}):
		return IfIdempotent
	case i.Findable:
		return IfNotFound
	case i.Example.Defaults().Repeatable:
		return Always
	}
	return Never
}
