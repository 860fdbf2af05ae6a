// Package demo has what a vendor contributes to cmd/demo: a sandbox, steps of the
// story, schedules, and command lines to try afterwards.
//
// Each vendor has such a Vendor in its package <vendor>demo, below tasks/, and
// internal/sandboxes lists them. The worker and the command line link none of
// these packages.
package demo

import (
	"context"
	"encoding/json"

	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
)

// Vendor is a vendor's part of the demo. Only NewSandbox is required.
type Vendor struct {
	// NewSandbox returns the vendor's sandbox with the demo's data. canary, if it is
	// not empty, is part of every secret.
	NewSandbox func(canary string) sandbox.Vendor
	// Steps returns the vendor's steps of the story. They run one after the other.
	Steps func(Stage) []Step
	// Schedules are entries of the demo's schedule file (docs/schedules.md): a YAML
	// list that is not indented.
	Schedules string
	// Commands returns command lines for the user to try. sandboxURL is the address
	// of the vendor's sandbox: "http://127.0.0.1:8099/dinero/".
	Commands func(sandboxURL string) []Command
	// PrepareExample puts the sandbox into a state in which the example of any of
	// the vendor's task types succeeds, whatever ran before.
	PrepareExample func(sandbox.Vendor)
}

// Stage is what the steps of a vendor work with.
type Stage struct {
	// Client enqueues into the demo's Redis.
	Client *tasks.Client
	// Sandbox is the vendor's, made by NewSandbox.
	Sandbox sandbox.Vendor
	// AwaitEvent returns once an event of the type has arrived for whose data matches
	// returns true. An earlier event counts as well.
	AwaitEvent func(ctx context.Context, eventType string, matches func(data json.RawMessage) bool) error
}

// Step is a step of the story, which the demo prints as one line.
type Step struct {
	// Title says what happens: "an OTP is sent".
	Title string
	// Run does it and returns the result to print: "done: idRequest 251". An error
	// means that something else happened than the title says.
	Run func(ctx context.Context) (result string, err error)
}

// Command is a command line to try.
type Command struct {
	// Purpose says what the line does.
	Purpose string
	// Line is for a shell in the repository's folder.
	Line string
}
