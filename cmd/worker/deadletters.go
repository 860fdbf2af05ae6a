package main

import (
	"context"
	"errors"
	"fmt"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/settings"
	"errand.internal/internal/terminal"
)

type deadLetterCommand struct {
	Export exportLettersCommand `cmd:"" default:"withargs" help:"Export dead letters as JSON lines (default)."`
	List   listLettersCommand   `cmd:"" help:"List dead letters, the oldest of each queue first."`
	Show   showLetterCommand    `cmd:"" help:"Tell what became of a dead letter, and what to do now."`
	Replay replayCommand        `cmd:"" help:"Enqueue dead letters once more, each as a new task."`
}

// letterFilter are the flags that select dead letters.
type letterFilter struct {
	Queue   string         `help:"Only this queue."`
	Type    string         `help:"Only this task type."`
	Outcome record.Outcome `help:"Only this outcome: invalid, unknown, expired, failed."`
	Code    string         `help:"Only this code of the vendor's."`
	Since   timeFlag       `placeholder:"TIME" help:"Only those that died since: how long ago (2h), or an RFC 3339 time."`
	Until   timeFlag       `placeholder:"TIME" help:"Only those that died until then."`
}

func (f letterFilter) filter() operator.LetterFilter {
	return operator.LetterFilter{
		Queue:   f.Queue,
		Type:    f.Type,
		Outcome: f.Outcome,
		Code:    f.Code,
		Since:   f.Since.Time,
		Until:   f.Until.Time,
	}
}

type exportLettersCommand struct {
	letterFilter
	JSON bool `name:"json" help:"JSON lines are all there is; the flag is taken like everywhere."`
}

func (c *exportLettersCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		return o.EachDeadLetter(ctx, c.filter(), func(l operator.DeadLetter) error {
			return inv.printJSON(l)
		})
	})
}

type listLettersCommand struct {
	letterFilter
	Limit int  `default:"0" help:"At most this many; 0 for all."`
	JSON  bool `name:"json" help:"Print one JSON object per dead letter."`
}

// errEnough ends a list at its limit.
var errEnough = errors.New("enough")

func (c *listLettersCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		table := terminal.NewTable(inv.stdout, "ID", "TYPE", "OUTCOME", "DIED", "CODE", "REPLAY", "MESSAGE")
		n := 0
		err := o.EachDeadLetter(ctx, c.filter(), func(l operator.DeadLetter) error {
			if n++; c.Limit > 0 && n > c.Limit {
				return errEnough
			}
			if c.JSON {
				return inv.printJSON(l)
			}
			return table.Row(l.ID, l.Type, string(l.Outcome), stamp(l.At), l.Code, l.Replay, l.Message)
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if c.JSON {
			return nil
		}
		return inv.flush(table, "no dead letter")
	})
}

type showLetterCommand struct {
	ID   string `arg:"" help:"Task ID."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

func (c *showLetterCommand) run(ctx context.Context, inv *invocation) error {
	explain := explainCommand{ID: c.ID, JSON: c.JSON}
	return explain.run(ctx, inv)
}

type replayCommand struct {
	IDs []string `arg:"" optional:"" name:"id" help:"Task IDs; or a filter."`
	letterFilter
	All              bool          `help:"Replay all dead letters."`
	EvenIfItHappened bool          `help:"Replay also what ended unknown: it may have happened, and then happens twice."`
	Rate             settings.Rate `placeholder:"N/s" help:"At most this many in a time, such as 5/s or 100/1m."`
	DryRun           bool          `help:"Change nothing; print what would be replayed."`
	Reason           string        `help:"Why; the audit keeps it."`
	JSON             bool          `name:"json" help:"Print one JSON object per task, and one with the counts."`
}

// Help returns the detailed help that kong prints.
func (*replayCommand) Help() string {
	return `A replay is a new task with the payload and the key of the old one, and a time budget of its own; each names
the other. A dead letter has one replay: the command may be interrupted and run again. ENCRYPTION_KEYS must be the
workers'.
The exit code is 3 if a named task is not replayed.`
}

func (c *replayCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		count, err := o.Replay(ctx, operator.ReplayOrder{
			IDs:              c.IDs,
			Filter:           c.filter(),
			All:              c.All,
			EvenIfItHappened: c.EvenIfItHappened,
			DryRun:           c.DryRun,
			Reason:           c.Reason,
			Rate:             c.Rate,
		}, func(r operator.Replayed) error {
			return inv.printReplayed(r, c.JSON)
		})
		if _, usage := errors.AsType[*operator.UsageError](err); usage {
			return err
		}
		if c.JSON {
			return errors.Join(err, inv.printJSON(count))
		}
		text := count.String()
		if c.DryRun {
			text = "dry run, nothing changed: " + text
		}
		_, _ = fmt.Fprintf(inv.stderr, "worker: %s\n", text)
		return err
	})
}

func (inv *invocation) printReplayed(r operator.Replayed, asJSON bool) error {
	if asJSON {
		return inv.printJSON(r)
	}
	text := r.ID
	switch {
	case r.Refused != "":
		text += "  not replayed: " + r.Refused
	case r.Replay != "":
		text += "  replayed as " + r.Replay
	}
	_, err := fmt.Fprintln(inv.stdout, terminal.Line(text))
	return err
}
