package main

import (
	"context"
	"time"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/terminal"
)

type auditCommand struct {
	Since timeFlag `placeholder:"TIME" help:"Only what was done since: how long ago (24h), or an RFC 3339 time."`
	JSON  bool     `name:"json" help:"Print one JSON object per line."`
}

// Help returns the detailed help that kong prints.
func (*auditCommand) Help() string {
	return `It lists replays, pauses, cancels (also by HTTP), erasures, cleared credentials, what was done in the web UI,
and the use of each API key, once a day. A command that changes many things is there when it begins, and when it has
ended with what came of it.`
}

// auditLine is a line of the audit.
type auditLine struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Verb   string    `json:"verb"`
	Target string    `json:"target"`
	Reason string    `json:"reason,omitempty"`
	Result string    `json:"result,omitempty"`
}

func (c *auditCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		table := terminal.NewTable(inv.stdout, "AT", "WHO", "VERB", "TARGET", "REASON", "RESULT")
		err := o.EachAction(ctx, c.Since.Time, func(a record.Action) error {
			if c.JSON {
				return inv.printJSON(auditLine{
					At:     a.At.UTC(),
					Who:    a.Who,
					Verb:   a.Verb,
					Target: a.Target,
					Reason: a.Reason,
					Result: a.Result,
				})
			}
			return table.Row(stamp(a.At), a.Who, a.Verb, a.Target, a.Reason, a.Result)
		})
		if err != nil {
			return err
		}
		return table.Flush()
	})
}
