package bulk

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
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
	lines   *lineReader
	comma   rune
	info    tasks.Info
	columns []payload.Column
	// order is how the columns of a row are set: the entries of a list one after
	// another, wherever they stand in the header.
	order []int
	// key is the column of the rows' keys, named keyColumn; -1 if there is none.
	key       int
	keyColumn string
	rows      int
}

// newCSVRows returns a reader that has read and checked the header.
func newCSVRows(lines *lineReader, taskType, keyColumn string) (*csvRows, error) {
	info, ok := all.Vendors.Find(taskType)
	if !ok { // only when --type is missing: a given one has been checked
		return nil, ErrNoType
	}
	c := &csvRows{lines: lines, info: info}
	header, err := c.readHeader()
	if err != nil {
		return nil, err
	}
	if c.comma == 0 {
		c.comma = detectSeparator(header)
	}
	names, err := c.parseCells(header)
	if err != nil {
		return nil, refusedf("the header row: %w", err)
	}
	return c, c.readColumns(names, keyColumn)
}

// separators are the separators that a file may have.
const separators = ",;\t|"

// separatorLine is a first line that tells Excel, and us, the separator.
var separatorLine = regexp.MustCompile(`(?i)^"?sep=(.)"?\r?\n$`)

// readHeader returns the header's record. It skips records without content, and
// takes the separator from a line such as sep=; before the header.
func (c *csvRows) readHeader() ([]byte, error) {
	for {
		header, _, err := c.readRecord()
		switch {
		case isRowError(err):
			return nil, refusedf("the header row: %w", err)
		case err != nil:
			return nil, err
		case len(bytes.Trim(header, separators+" \r\n")) == 0:
			continue
		}
		line := separatorLine.FindSubmatch(header)
		if line == nil || c.comma != 0 {
			return header, nil
		}
		if !bytes.Contains([]byte(separators), line[1]) {
			return nil, refusedf("the line sep= names no separator; it must be a comma, semicolon, tab or |")
		}
		c.comma = rune(line[1][0])
	}
}

// detectSeparator returns the separator that the header contains most often. No
// field path contains one.
func detectSeparator(header []byte) rune {
	best := ','
	for _, candidate := range separators {
		if occurrences(header, candidate) > occurrences(header, best) {
			best = candidate
		}
	}
	return best
}

func occurrences(text []byte, r rune) int {
	return bytes.Count(text, []byte(string(r)))
}

// displayablePath matches header cells that may be shown even if no column is a field.
// In a file without a header, the first row is personal data.
var displayablePath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:\[\]]{0,63}$`)

// displayableName matches what may be shown beside a column that is a field: words, but
// no address and no number of a person.
var displayableName = regexp.MustCompile(`^[\p{L}_][\p{L}\p{M} _.:()\[\]/-]{0,59}\p{N}{0,3}\)?$`)

// readColumns reads the header. It refuses one that would make every row invalid.
func (c *csvRows) readColumns(names []string, keyColumn string) error {
	c.columns = make([]payload.Column, len(names))
	faults := make([]error, len(names))
	isHeader := false
	for i, name := range names {
		names[i], _ = payload.CleanText(payload.Line, name)
		c.columns[i], faults[i] = payload.NewColumn(c.info.Example, names[i])
		isHeader = isHeader || faults[i] == nil
	}
	c.findKey(names, keyColumn)
	var problems []string
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = fmt.Sprintf("column %d", i+1)
		if isHeader && displayableName.MatchString(name) || displayablePath.MatchString(name) {
			shown[i] += " (" + name + ")"
		}
		if fault := c.addColumn(i, name, faults[i], shown); fault != "" {
			problems = append(problems, shown[i]+" "+fault)
		}
	}
	if keyColumn != "" && c.key < 0 {
		problems = append(problems, "exactly one column must be named "+keyColumn+", as --key-column says")
	}
	return c.checkColumns(shown, problems)
}

// addColumn adds a column to those that set a field. It returns what is wrong with it.
func (c *csvRows) addColumn(i int, name string, err error, shown []string) (fault string) {
	switch {
	case name == "":
		return "has no name"
	case err != nil && i == c.key: // a column of its own
		return ""
	case errors.Is(err, payload.ErrNoField):
		return "is not a field of " + c.info.Type
	case err != nil:
		return err.Error()
	}
	c.order = append(c.order, i)
	return c.overlap(i, shown)
}

// findKey finds the column of the keys. A field's column can be it too.
func (c *csvRows) findKey(names []string, keyColumn string) {
	c.key = -1
	if keyColumn == "" {
		return
	}
	c.keyColumn, _ = payload.CleanText(payload.Line, keyColumn)
	c.key = slices.Index(names, c.keyColumn)
	if c.key >= 0 && slices.Contains(names[c.key+1:], c.keyColumn) {
		c.key = -1
	}
}

// checkColumns refuses the header if it has problems, or columns that no row can have
// together.
func (c *csvRows) checkColumns(shown, problems []string) error {
	probe := map[string]any{}
	slices.SortStableFunc(c.order, func(i, j int) int { return c.columns[i].Compare(c.columns[j]) })
	for _, i := range c.order {
		if err := c.columns[i].Put(probe, ""); err != nil && len(problems) == 0 {
			problems = append(problems, shown[i]+" "+err.Error())
		}
	}
	if len(problems) > 0 {
		return refusedf("the header row: %s", strings.Join(problems, "; "))
	}
	return nil
}

// overlap says how column i overlaps with an earlier one, "" if it does not.
func (c *csvRows) overlap(i int, shown []string) string {
	for _, j := range c.order[:len(c.order)-1] {
		a, b := c.columns[i], c.columns[j]
		switch {
		case a.Within(b) && b.Within(a):
			return "appears twice"
		case a.Within(b) || b.Within(a):
			return "is set by " + shown[j] + " too"
		}
	}
	return ""
}

func (c *csvRows) next() (row, error) {
	for {
		record, line, err := c.readRecord()
		if err != nil && !isRowError(err) {
			return row{}, err
		}
		if err == nil && len(bytes.Trim(record, string(c.comma)+" \"\t\r\n")) == 0 {
			continue // spreadsheets leave rows of separators
		}
		c.rows++
		return row{
			number:   c.rows,
			line:     line,
			raw:      record,
			from:     c,
			taskType: c.info.Type,
			err:      err,
		}, nil
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
		case err == nil && len(record)+len(next) <= MaxRowSize && !tooLong:
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

// decode sets the payload and the key of a row. An empty cell omits its field.
func (c *csvRows) decode(r *row) error {
	cells, err := c.parseCells(r.raw)
	if err != nil {
		return err
	}
	if len(cells) != len(c.columns) {
		return rowErrorf("the row has %d cells, the header has %d", len(cells), len(c.columns))
	}
	doc := map[string]any{}
	var problems []string
	if c.key >= 0 {
		if r.key = cells[c.key]; strings.TrimSpace(r.key) == "" {
			problems = append(problems, c.keyColumn+" is empty, and is the key (--key-column)")
		}
	}
	for _, i := range c.order {
		if err := c.columns[i].Set(doc, cells[i]); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if len(problems) > 0 {
		return &rowError{strings.Join(problems, "; ")}
	}
	if r.payload, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("encode the payload: %w", err)
	}
	return nil
}
