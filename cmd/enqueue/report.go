package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/internal/terminal"
)

// printReport prints the report to stdout.
func (inv *invocation) printReport(r *produce.Report, asJSON bool) {
	if asJSON {
		inv.printJSON(r)
		return
	}
	inv.printPairs([][2]string{
		{"id", r.ID},
		{"type", r.Type},
		{"queue", r.Queue},
		{"state", r.State},
		{"duplicate", yesOrEmpty(r.Duplicate)},
		{"outcome", string(r.Outcome)},
		{"code", textOrEmpty(r.Code)},
		{"message", textOrEmpty(r.Message)},
		{"attempts", countOrEmpty(r.Attempts)},
		{"created", r.Created},
		{"due", r.Due},
		{"usable until", r.Expires},
		{"next", r.Next},
		{"ended", r.Ended},
		{"data", dataText(r)},
	})
	if r.History == nil || len(*r.History) == 0 {
		return
	}
	_, _ = fmt.Fprintln(inv.stdout)
	table := terminal.NewTable(inv.stdout, "at", "class", "code", "status", "took", "message")
	for _, a := range *r.History {
		took := time.Duration(a.Duration) * time.Millisecond
		_ = table.Row(a.At, a.Class, a.Code, nonZero(a.Status), produce.FormatDuration(took), a.Message)
	}
	_ = table.Flush() // stdout keeps the error
}

func dataText(r *produce.Report) string {
	switch {
	case r.Sealed:
		return "(sealed)"
	case r.Data == nil || string(*r.Data) == "null":
		return ""
	}
	return indentJSON(*r.Data)
}

// printJSON prints a value as JSON on one line.
func (inv *invocation) printJSON(v any) {
	enc := json.NewEncoder(inv.stdout)
	enc.SetEscapeHTML(false) // login URLs contain &
	_ = enc.Encode(v)        // stdout keeps the error
}

// printPairs prints aligned lines of name and value, without the empty values.
func (inv *invocation) printPairs(pairs [][2]string) {
	width := 0
	for _, p := range pairs {
		if p[1] != "" {
			width = max(width, len(p[0]))
		}
	}
	for _, p := range pairs {
		if p[1] == "" {
			continue
		}
		text := strings.ReplaceAll(p[1], "\n", "\n"+strings.Repeat(" ", width+2))
		_, _ = fmt.Fprintf(inv.stdout, "%-*s  %s\n", width, p[0], terminal.Text(text))
	}
}

func indentJSON(raw []byte) string {
	var pretty bytes.Buffer
	if json.Indent(&pretty, raw, "", "  ") != nil {
		return string(raw)
	}
	return pretty.String()
}

func yesOrEmpty(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func textOrEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func countOrEmpty(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
