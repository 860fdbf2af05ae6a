package main

import (
	"context"
	"time"

	"errand.internal/internal/operator"
)

type pauseCommand struct {
	Target  string        `arg:"" name:"queue|account" help:"Queue or account whose tasks shall not start."`
	Account bool          `help:"Pause the account, if a queue has its name too."`
	For     time.Duration `placeholder:"30m" help:"How long; without it until worker resume."`
	Reason  string        `help:"Why; doctor and audit show it."`
	DryRun  bool          `help:"Change nothing."`
	JSON    bool          `name:"json" help:"Print one JSON object."`
}

// Help returns the detailed help that kong prints.
func (*pauseCommand) Help() string {
	return `No task of the queue starts on any worker; calls under way end. While an account is paused, no call, no login
and no probe of it starts, whichever queue its task comes from. The accounts are those in events and metrics, such as
danaconnect-otp. The time of the tasks runs on, so they may end expired.`
}

func (c *pauseCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		text, err := o.Pause(ctx, operator.PauseOrder{
			Target:  c.Target,
			Account: c.Account,
			For:     c.For,
			Reason:  c.Reason,
			DryRun:  c.DryRun,
		})
		return inv.printDone(text, c.JSON, err)
	})
}

type resumeCommand struct {
	Target  string `arg:"" name:"queue|account" help:"Queue or account to resume."`
	Account bool   `help:"Resume the account, if a queue has its name too."`
	Reason  string `help:"Why; the audit keeps it."`
	DryRun  bool   `help:"Change nothing."`
	JSON    bool   `name:"json" help:"Print one JSON object."`
}

func (c *resumeCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		text, err := o.Resume(ctx, operator.PauseOrder{
			Target:  c.Target,
			Account: c.Account,
			Reason:  c.Reason,
			DryRun:  c.DryRun,
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
