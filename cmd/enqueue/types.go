package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

// typesCommand is `enqueue types [TYPE]`.
type typesCommand struct {
	Type string `arg:"" optional:"" help:"The task type to describe; all are listed without it."`
	JSON bool   `name:"json" help:"Print JSON: a list of types, or one object with TYPE."`
}

type typeSummary struct {
	Type    string `json:"type"`
	Queue   string `json:"queue"`
	Budget  string `json:"budget"` // 2m, 72h
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
	Command    string          `json:"command"` // runs as it is
	again      tasks.Again
}

type fieldDetail struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	Required bool   `json:"required"`
	Rules    string `json:"rules,omitempty"`
	Doc      string `json:"doc,omitempty"`
}

func (c *typesCommand) run(
	_ context.Context,
	s *session,
) (int, error) { //nolint:unparam // every command has this shape
	if c.Type == "" {
		s.listTypes(c.JSON)
		return exitOK, nil
	}
	info, ok := tasks.Find(c.Type)
	if !ok {
		return 0, unknownType(c.Type)
	}
	if info.Internal {
		return 0, usagef(
			"%s is internal: Errand enqueues it itself, nobody else can",
			c.Type,
		)
	}
	detail, err := describe(info)
	if err != nil {
		return 0, err
	}
	if c.JSON {
		s.printJSON(detail)
		return exitOK, nil
	}
	s.printType(detail)
	return exitOK, nil
}

func summarize(info tasks.Info) typeSummary {
	d := info.Example.Policy()
	return typeSummary{
		Type:    info.Type,
		Queue:   d.Queue,
		Budget:  human(d.Budget),
		Summary: info.Summary,
	}
}

func (s *session) listTypes(asJSON bool) {
	var list []typeSummary
	rows := [][]string{{"TYPE", "QUEUE", "BUDGET", "SUMMARY"}}
	for _, info := range tasks.Types() {
		t := summarize(info)
		list = append(list, t)
		rows = append(rows, []string{t.Type, t.Queue, t.Budget, t.Summary})
	}
	if asJSON {
		s.printJSON(list)
		return
	}
	s.table(rows)
}

func describe(info tasks.Info) (*typeDetail, error) {
	example, err := json.Marshal(info.Example)
	if err != nil {
		return nil, fmt.Errorf("encode the example: %w", err)
	}
	d := info.Example.Policy()
	keep, keyLife := d.Retention, d.KeyTTL
	if keep <= 0 {
		keep = queue.DefaultRetention
	}
	if keyLife <= 0 {
		keyLife = queue.DefaultKeyTTL
	}
	t := &typeDetail{
		typeSummary: summarize(info),
		Vendor:      info.Vendor,
		Repeatable:  d.Repeatable,
		KeptFor:     human(keep),
		KeyFor:      human(keyLife),
		Fields:      []fieldDetail{},
		Example:     example,
		Command:     name + " " + info.Type + " --payload " + quoted(string(example)),
		again:       info.Again(),
	}
	for _, f := range info.Fields() {
		t.Fields = append(t.Fields, fieldDetail(f))
	}
	return t, nil
}

func (s *session) printType(t *typeDetail) {
	runs := map[tasks.Again]string{
		tasks.Never:        "at most once: an attempt that may have happened ends the task as unknown",
		tasks.Always:       "repeatable: an attempt that may have happened is repeated",
		tasks.IfIdempotent: "repeatable if idempotent is true, as it is of a read; else an attempt that may have happened ends the task as unknown",
		tasks.IfNotFound:   "to one effect: what an attempt may have made is looked for, and made again only if it is not there",
	}[t.again]
	_, _ = fmt.Fprintf(s.stdout, "%s: %s\n\n", t.Type, t.Summary)
	s.list([][2]string{
		{"queue", t.Queue},
		{"budget", t.Budget + " from its start; --usable-for sets another"},
		{"runs", runs},
		{"kept for", t.KeptFor + " after its end"},
		{"key", "remembered for " + days(t.KeyFor)},
	})
	if len(t.Fields) > 0 {
		_, _ = fmt.Fprintln(s.stdout)
		rows := [][]string{{"FIELD", "KIND", "REQUIRED", "RULES", "MEANING"}}
		for _, f := range t.Fields {
			rows = append(rows, []string{f.Path, f.Kind, yes(f.Required), f.Rules, f.Doc})
		}
		s.table(rows)
	}
	_, _ = fmt.Fprintf(
		s.stdout,
		"\nExample payload:\n%s\n\n%s\n",
		indented(t.Example),
		t.Command,
	)
}

// days writes whole days as such: 168h reads as nothing in particular.
func days(text string) string {
	const day = 24 * time.Hour
	if d, err := time.ParseDuration(text); err == nil && d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return text
}

// quoted is one word for a shell.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
