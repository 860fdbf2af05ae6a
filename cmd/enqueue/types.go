package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/events"
	"errand.internal/internal/produce"
	"errand.internal/internal/terminal"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// typesCommand is `enqueue types [TYPE]`.
type typesCommand struct {
	Type string `arg:"" optional:"" help:"Task type to describe. Default: list all."`
	JSON bool   `name:"json" help:"Print JSON: a list of the types, or one object for TYPE."`
}

type typeDetail struct {
	produce.TypeDetail
	Command    string `json:"command"` // can be run as it is
	redelivery tasks.Redelivery
	perPayload bool // the payload decides
}

//nolint:unparam // every command has this signature
func (c *typesCommand) run(_ context.Context, inv *invocation) (int, error) {
	if c.Type == "" {
		inv.listTypes(c.JSON)
		return exitOK, nil
	}
	info, err := findType(c.Type, usagef)
	if err != nil {
		return 0, err
	}
	detail, err := describeType(info)
	if err != nil {
		return 0, err
	}
	if c.JSON {
		inv.printJSON(detail)
		return exitOK, nil
	}
	inv.printType(detail)
	return exitOK, nil
}

// findType returns a task type that can be enqueued. internalError makes the error
// for one that cannot: what the user got wrong differs from command to command.
func findType(taskType string, internalError func(format string, args ...any) error) (tasks.Info, error) {
	info, ok := all.Vendors.Find(taskType)
	switch {
	case ok:
		return info, nil
	case taskType == events.DeliverType:
		return info, internalError("%s is internal: Errand enqueues it itself, nobody else can", taskType)
	default:
		return info, unknownTypeError(taskType)
	}
}

func (inv *invocation) listTypes(asJSON bool) {
	var list []produce.TypeSummary
	for _, info := range all.Vendors.Types() {
		t := produce.SummarizeType(info)
		list = append(list, t)
	}
	if asJSON {
		inv.printJSON(list)
		return
	}
	table := terminal.NewTable(inv.stdout, "TYPE", "QUEUE", "BUDGET", "SUMMARY")
	for _, t := range list {
		_ = table.Row(t.Type, t.Queue, t.Budget, t.Summary)
	}
	_ = table.Flush() // stdout keeps the error
}

func describeType(info tasks.Info) (*typeDetail, error) {
	described, err := produce.DescribeType(info)
	if err != nil {
		return nil, err
	}
	return &typeDetail{
		TypeDetail: *described,
		Command:    commandName + " " + info.Type + " --payload " + shellQuote(string(described.Example)),
		redelivery: info.Example.Policy().Redelivery,
		perPayload: info.PerPayload(),
	}, nil
}

func (inv *invocation) printType(t *typeDetail) {
	runs := "at most once: if an attempt may have happened, the task ends as unknown"
	switch {
	case t.perPayload:
		runs = "repeatable if idempotent is true (default for reads); " +
			"otherwise, if an attempt may have happened, the task ends as unknown"
	case t.redelivery == tasks.AtLeastOnce:
		runs = "repeatable: if an attempt may have happened, it is repeated"
	case t.redelivery == tasks.Reconciled:
		runs = "to one effect: if an attempt may have created the object, " +
			"Errand searches for it, and creates it again only if it does not exist"
	}
	_, _ = fmt.Fprintf(inv.stdout, "%s: %s\n\n", t.Type, t.Summary)
	inv.printPairs([][2]string{
		{"queue", t.Queue},
		{"budget", t.Budget + " from its start; --usable-for changes it"},
		{"runs", runs},
		{"kept for", t.KeptFor + " after its end"},
		{"key", "remembered for " + formatDays(t.KeyFor)},
	})
	if len(t.Fields) > 0 {
		_, _ = fmt.Fprintln(inv.stdout)
		table := terminal.NewTable(inv.stdout, "FIELD", "KIND", "REQUIRED", "RULES", "MEANING")
		for _, f := range t.Fields {
			_ = table.Row(f.Path, f.Kind, yesOrEmpty(f.Required), f.Rules, f.Doc)
		}
		_ = table.Flush() // stdout keeps the error
	}
	_, _ = fmt.Fprintf(
		inv.stdout,
		"\nExample payload:\n%s\n\n%s\n",
		indentJSON(t.Example),
		t.Command,
	)
}

// formatDays rewrites a duration of whole days: 7 days says more than 168h.
func formatDays(text string) string {
	const day = 24 * time.Hour
	if d, err := time.ParseDuration(text); err == nil && d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return text
}

// shellQuote quotes text as one word for a POSIX shell.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
