package main

import (
	"context"
	"fmt"

	"errand.internal/internal/operator"
	"errand.internal/internal/terminal"
)

type forgetCommand struct {
	Subject string `required:"" help:"The recipient or user, as payloads name them: one address, phone number or user ID."`
	Reason  string `help:"Why, such as the number of the request; the audit keeps it. Do not name the person."`
	DryRun  bool   `help:"Change nothing; print what would be erased."`
	JSON    bool   `name:"json" help:"Print one JSON object per task."`
}

// Help returns the detailed help that kong prints.
func (*forgetCommand) Help() string {
	return `It erases payloads, results and digests of the person's ended tasks, and prints what it keeps and why. Run
it for each address, phone number and user ID of the person. The exit code is 3 if a task has not ended: cancel it, or
wait, and run it again. docs/security.md says what else is kept, and for how long.`
}

func (c *forgetCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		return o.Forget(ctx, operator.ForgetOrder{
			Subject: c.Subject,
			Reason:  c.Reason,
			DryRun:  c.DryRun,
		}, func(f operator.Forgotten) error {
			return inv.printForgotten(f, c)
		})
	})
}

func (inv *invocation) printForgotten(f operator.Forgotten, c *forgetCommand) error {
	if c.JSON {
		return inv.printJSON(f)
	}
	did := "erased"
	switch {
	case !f.Erased:
		did = "not erased"
	case c.DryRun:
		did = "would be erased"
	}
	_, err := fmt.Fprintf(inv.stdout, "%s  %s  %s\n", terminal.Line(f.ID), terminal.Line(f.Type), did)
	for _, kept := range f.Kept {
		_, err = fmt.Fprintf(inv.stdout, "  kept: %s\n", terminal.Line(kept))
	}
	return err
}
