// Package terminal prints for people what may come from a vendor or a file, without the
// control characters that would reach their terminal.
package terminal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Text replaces the control characters of a text, except for its line ends.
func Text(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
}

// Line is a text on one line: its line ends are blanks.
func Line(text string) string {
	return Text(strings.ReplaceAll(text, "\n", " "))
}

// alignedRows is how many rows of a table are aligned together.
const alignedRows = 200

// Table is a table that is printed while it is read: the columns of some rows are aligned
// together. It needs Flush at its end. A table without rows has no heading either.
type Table struct {
	w       *tabwriter.Writer
	heading []string
	n       int
}

// NewTable returns an empty table that is printed to w.
func NewTable(w io.Writer, heading ...string) *Table {
	return &Table{
		w:       tabwriter.NewWriter(w, 0, 0, 2, ' ', 0),
		heading: heading,
	}
}

// Row adds a row; an empty cell is printed as "-". It returns the writer's error once rows
// have been printed.
func (t *Table) Row(cells ...string) error {
	if t.n == 0 {
		t.write(t.heading)
	}
	t.write(cells)
	if t.n++; t.n%alignedRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *Table) write(cells []string) {
	clean := make([]string, len(cells))
	for i, cell := range cells {
		if clean[i] = Line(cell); cell == "" {
			clean[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(t.w, strings.Join(clean, "\t")) // Flush returns the error
}

// Empty reports whether the table has no row.
func (t *Table) Empty() bool {
	return t.n == 0
}

// Flush prints what is not printed yet.
func (t *Table) Flush() error {
	return t.w.Flush()
}
