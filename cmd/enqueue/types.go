package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/events"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// typesCommand is `enqueue types [TYPE]`.
type typesCommand struct {
	Type string `arg:"" optional:"" help:"Task type to describe. Default: list all."`
	JSON bool   `name:"json" help:"Print JSON: a list of the types, or one object for TYPE."`
}

type typeSummary struct {
	Type    string `json:"type"`
	Queue   string `json:"queue"`
	Budget  string `json:"budget"` // such as 2m or 72h
	Summary string `json:"summary"`
}

type typeDetail struct {
	typeSummary
	Vendor     string          `json:"vendor"`
	Repeatable bool            `json:"repeatable"`
	KeptFor    string          `json:"keptFor"`
	KeyFor     string          `json:"keyRememberedFor"`
	Fields     []fieldDetail   `json:"fields"`
	Example    json.RawMessage `json:"example"`
	Command    string          `json:"command"` // can be run as it is
	redelivery tasks.Redelivery
	perPayload bool // the payload decides
}

type fieldDetail struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	Required bool   `json:"required"`
	Rules    string `json:"rules,omitempty"`
	Doc      string `json:"doc,omitempty"`
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

func summarizeType(info tasks.Info) typeSummary {
	d := info.Example.Policy()
	return typeSummary{
		Type:    info.Type,
		Queue:   d.Queue,
		Budget:  formatDuration(d.Budget),
		Summary: info.Summary,
	}
}

func (inv *invocation) listTypes(asJSON bool) {
	var list []typeSummary
	rows := [][]string{{"TYPE", "QUEUE", "BUDGET", "SUMMARY"}}
	for _, info := range all.Vendors.Types() {
		t := summarizeType(info)
		list = append(list, t)
		rows = append(rows, []string{t.Type, t.Queue, t.Budget, t.Summary})
	}
	if asJSON {
		inv.printJSON(list)
		return
	}
	inv.printTable(rows)
}

func describeType(info tasks.Info) (*typeDetail, error) {
	example, err := json.Marshal(info.Example)
	if err != nil {
		return nil, fmt.Errorf("encode the example: %w", err)
	}
	d := info.Example.Policy()
	retention := cmp.Or(d.Retention, broker.DefaultRetention)
	keyTTL := cmp.Or(d.KeyTTL, broker.DefaultKeyTTL)
	t := &typeDetail{
		typeSummary: summarizeType(info),
		Vendor:      info.Vendor,
		Repeatable:  d.Redelivery == tasks.AtLeastOnce,
		KeptFor:     formatDuration(retention),
		KeyFor:      formatDuration(keyTTL),
		Fields:      []fieldDetail{},
		Example:     example,
		Command:     commandName + " " + info.Type + " --payload " + shellQuote(string(example)),
		redelivery:  d.Redelivery,
		perPayload:  info.PerPayload(),
	}
	for _, f := range info.Fields() {
		t.Fields = append(t.Fields, fieldDetail(f))
	}
	return t, nil
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
		rows := [][]string{{"FIELD", "KIND", "REQUIRED", "RULES", "MEANING"}}
		for _, f := range t.Fields {
			rows = append(rows, []string{f.Path, f.Kind, yesOrEmpty(f.Required), f.Rules, f.Doc})
		}
		inv.printTable(rows)
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
