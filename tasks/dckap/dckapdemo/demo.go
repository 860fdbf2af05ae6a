// Package dckapdemo is DCKAP Integrator's part of the demo.
package dckapdemo

import (
	"context"
	"fmt"

	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/demo"
	"errand.internal/tasks/dckap"
)

// Vendor shows calls of a pipe, one of them repeated.
var Vendor = demo.Vendor{
	NewSandbox: dckaptest.Demo,
	Steps:      steps,
	Commands:   commands,
}

func steps(stage demo.Stage) []demo.Step {
	vendor := stage.Sandbox.(*dckaptest.Sandbox)
	return []demo.Step{
		{
			Title: "an order is handed to a pipe",
			Run: func(ctx context.Context) (string, error) {
				answer, err := demo.Run(ctx, stage.Client, dckap.DynamicCall{
					Listener: dckaptest.Listener,
					Body:     map[string]any{"order": "1001"},
				})
				return fmt.Sprintf("done: status %d", answer.Status), err
			},
		},
		{
			Title: "an idempotent call is repeated after a lost answer",
			Run: func(ctx context.Context) (string, error) {
				vendor.Inject(sandbox.Fault{
					Op:          dckaptest.OpCall,
					Drop:        true,
					AfterEffect: true,
					Times:       1,
				})
				before := vendor.Calls(dckaptest.OpCall)
				answer, err := demo.Run(ctx, stage.Client, dckap.DynamicCall{
					Listener:   dckaptest.Listener,
					Method:     "PUT",
					Body:       map[string]any{"order": "1001"},
					Idempotent: new(true),
				})
				if n := vendor.Calls(dckaptest.OpCall) - before; err == nil && n != 2 {
					err = fmt.Errorf("the pipe was called %d times, want twice", n)
				}
				return fmt.Sprintf("done: status %d", answer.Status), err
			},
		},
	}
}

func commands(sandboxURL string) []demo.Command {
	return []demo.Command{
		{
			Purpose: "call a pipe",
			Line: "go run ./cmd/enqueue dckap:dynamic:call --set listener=" + dckaptest.Listener +
				" --set body.order=1003 --wait 10s --json",
		},
		{
			Purpose: "disable the pipe; a call of it is then parked",
			Line: "curl -s -X PUT " + sandboxURL + "_sandbox/pipes/" + dckaptest.Listener +
				` -d '{"disabled":true}'`,
		},
	}
}
