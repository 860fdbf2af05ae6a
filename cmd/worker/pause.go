package main

import (
	"context"
	"time"

	"errand.internal/internal/operator"
)

type pauseCommand struct {
	Queue  string        `arg:"" help:"Queue whose tasks shall not start."`
	For    time.Duration `placeholder:"30m" help:"How long; without it until worker resume."`
	Reason string        `help:"Why; doctor and audit show it."`
	DryRun bool          `help:"Change nothing."`
	JSON   bool          `name:"json" help:"Print one JSON object."`
}

// Help returns the detailed help that kong prints.
func (*pauseCommand) Help() string {
	return `No task of the queue starts on any worker; calls under way end. The time of the tasks runs on, so they
may end expired.`
}

func (c *pauseCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		text, err := o.Pause(ctx, operator.PauseOrder{
			Queue:  c.Queue,
			For:    c.For,
			Reason: c.Reason,
			DryRun: c.DryRun,
		})
		return inv.printDone(text, c.JSON, err)
	})
}

type resumeCommand struct {
	Queue  string `arg:"" help:"Queue to resume."`
	Reason string `help:"Why; the audit keeps it."`
	DryRun bool   `help:"Change nothing."`
	JSON   bool   `name:"json" help:"Print one JSON object."`
}

func (c *resumeCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		text, err := o.Resume(ctx, operator.PauseOrder{
			Queue:  c.Queue,
			Reason: c.Reason,
			DryRun: c.DryRun,
		})
		return inv.printDone(text, c.JSON, err)
	})
}

// printDone prints the sentence of a command that did one thing.
func (inv *invocation) printDone(text string, asJSON bool, err error) error {
	if err == nil && asJSON {
		return inv.printJSON(map[string]string{"result": text})
	}
	return inv.printResult(text, err)
}
