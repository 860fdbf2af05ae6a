package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"errand.internal/tasks"
)

// report describes one task. Outcome, Code, Message, Attempts and Data are set once
// the task has ended; before that, Code and Message may say why it waits. If the
// record is no longer kept, only the Outcome is known. An empty State means that
// Redis could not be reached.
type report struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"`
	Queue     string           `json:"queue"`
	State     string           `json:"state"`
	Duplicate bool             `json:"duplicate"`
	Outcome   tasks.Outcome    `json:"outcome,omitempty"`
	Code      *string          `json:"code,omitempty"` // the vendor's
	Message   *string          `json:"message,omitempty"`
	Attempts  *int             `json:"attempts,omitempty"`
	Data      *json.RawMessage `json:"data,omitempty"`
	History   *[]historyEntry  `json:"history,omitempty"` // only for `enqueue status`

	sealed bool // the data exists but cannot be opened
}

// historyEntry is one attempt of a task.
type historyEntry struct {
	At       string `json:"at"` // RFC 3339 with milliseconds
	Class    string `json:"class"`
	Code     string `json:"code"`
	Status   int    `json:"status"` // HTTP status, 0 if no answer came
	Duration int64  `json:"durationMs"`
	Message  string `json:"message"`
}

const stateEnded = string(tasks.Ended)

// stateForgotten is the state of a duplicate whose key is still taken although the
// record of its task is gone and no worker has ended it.
const stateForgotten = "forgotten"

// setStatus fills in the state and, once the task has ended, its result.
func (r *report) setStatus(s *tasks.Status) {
	r.Type = s.Type
	r.Queue = s.Queue
	r.State = string(s.State)
	r.Outcome = s.Outcome
	if s.State == tasks.Ended || s.Code != "" {
		r.Code = new(s.Code)
	}
	if s.State == tasks.Ended || s.Message != "" {
		r.Message = new(s.Message)
	}
	if s.State != tasks.Ended {
		return
	}
	r.Attempts = new(s.Attempts)
	r.sealed = s.Data == nil && s.HasData
	data := s.Data
	if data == nil {
		data = json.RawMessage("null")
	}
	r.Data = &data
}

func (r *report) setHistory(s *tasks.Status) {
	history := make([]historyEntry, len(s.History))
	for i, a := range s.History {
		history[i] = historyEntry{
			At:       a.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
			Class:    a.Class,
			Code:     a.Code,
			Status:   a.Status,
			Duration: a.Took.Milliseconds(),
			Message:  a.Message,
		}
	}
	r.History = &history
}

// printReport prints the report to stdout.
func (inv *invocation) printReport(r *report, asJSON bool) {
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
		{"data", r.dataText()},
	})
	if r.History == nil || len(*r.History) == 0 {
		return
	}
	_, _ = fmt.Fprintln(inv.stdout)
	rows := [][]string{{"at", "class", "code", "status", "took", "message"}}
	for _, a := range *r.History {
		took := time.Duration(a.Duration) * time.Millisecond
		rows = append(rows, []string{
			a.At,
			a.Class,
			a.Code,
			nonZero(a.Status),
			formatDuration(took),
			a.Message,
		})
	}
	inv.printTable(rows)
}

func (r *report) dataText() string {
	switch {
	case r.sealed:
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
		_, _ = fmt.Fprintf(inv.stdout, "%-*s  %s\n", width, p[0], printable(text))
	}
}

// printTable prints aligned columns.
func (inv *invocation) printTable(rows [][]string) {
	w := tabwriter.NewWriter(inv.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = printable(strings.ReplaceAll(cell, "\n", " ")); cell == "" {
				cells[i] = "-"
			}
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // stdout keeps the error
}

// printable replaces control characters, which may come from a vendor or a file and
// must not reach the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
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
