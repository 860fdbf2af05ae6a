package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// csvRows reads CSV with a header of field paths. A quoted record may span several
// lines.
type csvRows struct {
	lines *lineReader
	comma rune
	info  tasks.Info
	paths []string
	rows  int
}

// newCSVRows returns a reader that has read and checked the header.
func newCSVRows(lines *lineReader, taskType string) (*csvRows, error) {
	info, ok := all.Vendors.Find(taskType)
	if !ok { // only when --type is missing: a given one has been checked
		return nil, usagef("CSV needs --type; JSONL has one object per line")
	}
	c := &csvRows{lines: lines, info: info}
	var header []byte
	for len(bytes.TrimSpace(header)) == 0 {
		var err error
		if header, _, err = c.readRecord(); isRowError(err) {
			return nil, refusedf("the header row: %w", err)
		} else if err != nil {
			return nil, err
		}
	}
	c.comma = detectSeparator(header)
	names, err := c.parseCells(header)
	if err != nil {
		return nil, refusedf("the header row: %w", err)
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	c.paths = names
	return c, c.checkHeader()
}

// detectSeparator returns the separator that the header contains most often. No
// field path contains one.
func detectSeparator(header []byte) rune {
	best := ','
	for _, candidate := range []rune{';', '\t'} {
		if occurrences(header, candidate) > occurrences(header, best) {
			best = candidate
		}
	}
	return best
}

func occurrences(text []byte, r rune) int {
	return bytes.Count(text, []byte(string(r)))
}

// displayablePath matches header cells that may be shown. In a file without a
// header, the first row is personal data.
var displayablePath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,63}$`)

// checkHeader refuses a header that would make every row invalid.
func (c *csvRows) checkHeader() error {
	var problems []string
	for i, path := range c.paths {
		column := fmt.Sprintf("column %d", i+1)
		if displayablePath.MatchString(path) {
			column += " (" + path + ")"
		}
		switch {
		case path == "":
			problems = append(problems, column+" has no name")
		case slices.Contains(c.paths[:i], path):
			problems = append(problems, column+" appears twice")
		case !c.isField(path):
			problems = append(problems, column+" is not a field of "+c.info.Type)
		}
	}
	if len(problems) > 0 {
		return refusedf("the header row: %s", strings.Join(problems, "; "))
	}
	return nil
}

// isField reports whether path is a field, or lies below one that accepts any
// name.
func (c *csvRows) isField(path string) bool {
	fields := c.info.Fields()
	for _, f := range fields {
		if f.Path == path {
			return true
		}
		prefix := f.Path + "."
		acceptsAny := strings.Contains(f.Kind, "object") || f.Kind == "any JSON"
		named := slices.ContainsFunc(fields, func(o payload.Field) bool {
			return strings.HasPrefix(o.Path, prefix)
		})
		if acceptsAny && !named && len(path) > len(prefix) && strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

func (c *csvRows) next() (row, error) {
	for {
		record, line, err := c.readRecord()
		if err != nil && !isRowError(err) {
			return row{}, err
		}
		if err == nil && len(bytes.TrimSpace(record)) == 0 {
			continue
		}
		c.rows++
		r := row{
			number:   c.rows,
			line:     line,
			taskType: c.info.Type,
			err:      err,
		}
		if err == nil {
			r.payload, r.err = c.encodeRecord(record)
		}
		return r, nil
	}
}

// readRecord reads one record, which ends with the first line that leaves no quote
// open, and returns the number of its first line. A record that is too long is
// read to its end and refused: its quoted lines must not be taken for rows.
func (c *csvRows) readRecord() (record []byte, line int, err error) {
	tooLong := false
	for open := false; ; {
		next, err := c.lines.next()
		if line == 0 {
			line = c.lines.line
		}
		switch {
		case err == nil && len(record)+len(next) <= maxRowSize && !tooLong:
			record = append(append(record, next...), '\n')
		case err == nil || isRowError(err):
			record, tooLong = nil, true
		case tooLong:
			return nil, line, rowErrorf("%v; is a closing quote missing?", errRowTooLong)
		case len(record) > 0:
			return nil, line, rowErrorf("a quote is never closed")
		default:
			return nil, line, err
		}
		if open = open != (c.lines.quotes%2 == 1); open {
			continue
		}
		if tooLong {
			return nil, line, errRowTooLong
		}
		return record, line, nil
	}
}

func (c *csvRows) parseCells(record []byte) ([]string, error) {
	if !utf8.Valid(record) {
		return nil, rowErrorf("the row must be UTF-8")
	}
	r := csv.NewReader(bytes.NewReader(record))
	r.Comma = c.comma
	cells, err := r.Read()
	if err != nil {
		return nil, rowErrorf("the row is not valid CSV: its quotes are wrong")
	}
	return cells, nil
}

// encodeRecord returns the payload of one record. An empty cell omits its field.
func (c *csvRows) encodeRecord(record []byte) ([]byte, error) {
	cells, err := c.parseCells(record)
	if err != nil {
		return nil, err
	}
	if len(cells) != len(c.paths) {
		return nil, rowErrorf("the row has %d cells, the header has %d", len(cells), len(c.paths))
	}
	doc := map[string]any{}
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		if err := setField(c.info.Example, doc, c.paths[i], cell); err != nil {
			return nil, &rowError{strings.TrimPrefix(err.Error(), "--set ")}
		}
	}
	return encodePayload(doc)
}
