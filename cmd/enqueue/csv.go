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
)

// csvRows reads CSV with a header of field paths. A record may go over several
// lines, within quotes.
type csvRows struct {
	lines *lineReader
	comma rune
	info  tasks.Info
	paths []string
	rows  int
}

// newCSVRows reads and checks the header.
func newCSVRows(lines *lineReader, taskType string) (*csvRows, error) {
	info, ok := tasks.Find(taskType)
	if !ok { // a --type that is given has been checked
		return nil, usagef("CSV needs --type; JSONL has one object on each line")
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

// detectSeparator is what the header has most of; no field path contains one.
func detectSeparator(header []byte) rune {
	best := ','
	for _, candidate := range []rune{';', '\t'} {
		if bytes.Count(
			header,
			[]byte(string(candidate)),
		) > bytes.Count(
			header,
			[]byte(string(best)),
		) {
			best = candidate
		}
	}
	return best
}

// displayablePath is what may be shown: without a header row, the first row has
// somebody's data in it.
var displayablePath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,63}$`)

// checkHeader refuses a header that would make every row wrong.
func (c *csvRows) checkHeader() error {
	var faults []string
	for i, path := range c.paths {
		column := fmt.Sprintf("column %d", i+1)
		if displayablePath.MatchString(path) {
			column += " (" + path + ")"
		}
		switch {
		case path == "":
			faults = append(faults, column+" has no name")
		case slices.Contains(c.paths[:i], path):
			faults = append(faults, column+" is there twice")
		case !c.isField(path):
			faults = append(faults, column+" is no field of "+c.info.Type)
		}
	}
	if len(faults) > 0 {
		return refusedf("the header row: %s", strings.Join(faults, "; "))
	}
	return nil
}

// isField reports whether a path is a field, or lies in one that takes any names.
func (c *csvRows) isField(path string) bool {
	fields := c.info.Fields()
	for _, f := range fields {
		if f.Path == path {
			return true
		}
		below := f.Path + "."
		takesAny := strings.Contains(f.Kind, "object") || f.Kind == "any JSON"
		named := slices.ContainsFunc(fields, func(o payload.Field) bool {
			return strings.HasPrefix(o.Path, below)
		})
		if takesAny && !named && len(path) > len(below) &&
			strings.HasPrefix(path, below) {
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

// readRecord reads one readRecord, which ends with the first line that leaves no quote
// open. It returns the number of its first line. One that is too long is read
// to its end, and refused: what stands within its quotes must not be taken for
// rows.
func (c *csvRows) readRecord() (record []byte, line int, err error) {
	long := false
	for open := false; ; {
		next, err := c.lines.next()
		if line == 0 {
			line = c.lines.line
		}
		switch {
		case err == nil && len(record)+len(next) <= maxRowSize && !long:
			record = append(append(record, next...), '\n')
		case err == nil || isRowError(err):
			record, long = nil, true
		case long:
			return nil, line, rowErrorf("%v; is a quote never closed?", errRowTooLong)
		case len(record) > 0:
			return nil, line, rowErrorf("a quote is opened and never closed")
		default:
			return nil, line, err
		}
		if open = open != (c.lines.quotes%2 == 1); open {
			continue
		}
		if long {
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
		return nil, rowErrorf("the row is not CSV: its quotes are wrong")
	}
	return cells, nil
}

// encodeRecord makes the payload of one record. An empty cell leaves its field out.
func (c *csvRows) encodeRecord(record []byte) ([]byte, error) {
	cells, err := c.parseCells(record)
	if err != nil {
		return nil, err
	}
	if len(cells) != len(c.paths) {
		return nil, rowErrorf(
			"the row has %d cells, the header %d",
			len(cells),
			len(c.paths),
		)
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
