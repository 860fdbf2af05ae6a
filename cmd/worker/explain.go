package main

import (
	"context"
	"fmt"

	"errand.internal/internal/operator"
	"errand.internal/internal/terminal"
)

type explainCommand struct {
	ID       string `arg:"" optional:"" help:"Task ID."`
	Type     string `help:"Task type; with --key."`
	Key      string `help:"The producer's key; with --type."`
	Subject  string `help:"A recipient (address or phone number) or a user, as the payload names it."`
	VendorID string `name:"vendor-id" help:"An idRequest, conversationRequestId or Guid."`
	JSON     bool   `name:"json" help:"Print one JSON object per task."`
}

// Help returns the detailed help that kong prints.
func (*explainCommand) Help() string {
	return `Times are UTC, by Redis' clock. The exit code is 13 if there is no such task, or none is kept any more.`
}

func (c *explainCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		found, err := o.Explain(ctx, operator.Question{
			ID:       c.ID,
			Type:     c.Type,
			Key:      c.Key,
			Subject:  c.Subject,
			VendorID: c.VendorID,
		})
		if err != nil {
			return err
		}
		for i, e := range found {
			if c.JSON {
				err = inv.printJSON(e)
			} else {
				err = inv.printExplanation(e, i > 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// printExplanation prints the task, its timeline, and what to do.
func (inv *invocation) printExplanation(e operator.Explanation, further bool) error {
	if further {
		_, _ = fmt.Fprintln(inv.stdout) // the last line returns the error
	}
	state := string(e.State)
	if e.Outcome != "" {
		state = string(e.Outcome)
	}
	_, _ = fmt.Fprintf(inv.stdout, "%s  %s  %s\n", terminal.Line(e.ID), terminal.Line(e.Type), state)
	for _, m := range e.Timeline {
		_, _ = fmt.Fprintf(inv.stdout, "  %s  %s\n", stamp(m.At), terminal.Line(m.What))
	}
	_, err := fmt.Fprintf(inv.stdout, "do: %s\n", terminal.Line(e.Do))
	return err
}
