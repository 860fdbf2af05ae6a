package bulk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"errand.internal/internal/payload"
	"errand.internal/internal/produce"
	"errand.internal/internal/strictjson"
	"errand.internal/tasks/all"
)

// MaxRowSize is the size limit of a row: a payload, and room for type, key and
// escapes.
const MaxRowSize = payload.MaxSize + 64<<10

// row is one task of a bulk file.
type row struct {
	number   int // from 1, without the header and empty lines
	line     int // where it starts in the file
	raw      []byte
	from     rowReader // that decodes it
	taskType string
	payload  []byte // once it is decoded
	key      string // empty: the payload's own, or the digest
	err      error  // why the row is refused; nil if it is not
}

// weight is about how much of the memory for rows the row takes.
func (r *row) weight() int64 {
	return int64(len(r.raw)) + 1
}

// rowReader reads a file row by row. next returns io.EOF at the end; after any
// other error nothing more can be read. An error of a single row is in the row.
//
// decode sets payload and key of a row that next returned, and its type. The error is that of
// the row. It may be called while other rows are decoded, and read.
type rowReader interface {
	next() (row, error)
	decode(r *row) error
}

// rowError says why a row cannot be used.
type rowError struct{ text string }

func (e *rowError) Error() string {
	return e.text
}

func rowErrorf(format string, args ...any) error {
	return &rowError{fmt.Sprintf(format, args...)}
}

func isRowError(err error) bool {
	_, ok := errors.AsType[*rowError](err)
	return ok
}

// FileError says why a file is refused as a whole.
type FileError struct{ err error }

// Error implements error.
func (e *FileError) Error() string {
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error {
	return e.err
}

func refusedf(format string, args ...any) error {
	return &FileError{fmt.Errorf(format, args...)}
}

// ErrNoType says that the rows of a CSV file have no type.
var ErrNoType = errors.New("CSV needs --type; JSONL has one object per line")

// ErrKeyColumn says that a file has no columns.
var ErrKeyColumn = errors.New("--key-column is for CSV; a row of JSONL has its key beside its payload")

// newRowReader tells JSONL from CSV by the file's extension or, failing that, by its
// first character: no CSV header starts with a brace. A file that is neither is
// refused as a whole, because every one of its rows would be.
func newRowReader(file string, from io.Reader, taskType, keyColumn string) (rowReader, error) {
	lines := &lineReader{r: bufio.NewReaderSize(from, 64<<10), end: '\n'}
	if err := lines.checkFormat(); err != nil {
		return nil, err
	}
	first, err := lines.peekFirst()
	if err != nil {
		return nil, err
	}
	if first == '[' {
		return nil, refusedf("the file is a JSON array; %s", oneObjectPerLine("jq -c '.[]'"))
	}
	lines.detectEnd()
	isJSON := first == '{'
	switch strings.ToLower(filepath.Ext(file)) {
	case ".csv", ".tsv":
		isJSON = false
	case ".json", ".jsonl", ".ndjson":
		isJSON = true
	}
	switch {
	case isJSON && keyColumn != "":
		return nil, ErrKeyColumn
	case isJSON:
		return &jsonRows{lines: lines, taskType: taskType}, nil
	}
	return newCSVRows(lines, taskType, keyColumn)
}

func oneObjectPerLine(command string) string {
	return "JSONL has one object per line, as written by " + command + " FILE"
}

// lineReader reads lines of limited length.
type lineReader struct {
	r      *bufio.Reader
	end    byte // of a line: a line feed or, in files of old Macs, a carriage return
	line   int  // number of the last line read
	quotes int  // in the last line, even if it was too long
}

var errRowTooLong = rowErrorf("the row is longer than %d bytes", MaxRowSize)

// notText are the beginnings of files that are not UTF-8 text, and what to do.
var notText = []struct{ magic, fault string }{
	{"PK\x03", "an Excel workbook, or another archive; save the sheet as CSV UTF-8"},
	{"\xd0\xcf\x11", "an Excel workbook; save the sheet as CSV UTF-8"},
	{"\xff\xfe", "UTF-16; save it as CSV UTF-8"},
	{"\xfe\xff", "UTF-16; save it as CSV UTF-8"},
	{"\x1f\x8b", "compressed; unpack it first"},
}

// checkFormat refuses a file that is not text.
func (l *lineReader) checkFormat() error {
	start, _ := l.r.Peek(3) // peekFirst reports the error
	for _, n := range notText {
		if bytes.HasPrefix(start, []byte(n.magic)) {
			return refusedf("the file is %s", n.fault)
		}
	}
	return nil
}

// detectEnd finds out how the lines end: a carriage return that no line feed follows
// ends the first line only if it ends all of them.
func (l *lineReader) detectEnd() {
	for n := 1; ; n++ { // no further than needed: the next line may not be there yet
		seen, err := l.r.Peek(n)
		if err != nil || seen[n-1] == '\n' {
			return
		}
		if seen[n-1] != '\r' {
			continue
		}
		if seen, err = l.r.Peek(n + 1); err == nil && seen[n] != '\n' {
			l.end = '\r'
		}
		return
	}
}

// peekFirst returns the first character that is not white space, without consuming
// it. It skips a byte order mark.
func (l *lineReader) peekFirst() (byte, error) {
	if mark, _ := l.r.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = l.r.Discard(3)
	}
	for n := 1; ; n++ {
		seen, err := l.r.Peek(n)
		if len(seen) < n {
			if errors.Is(err, bufio.ErrBufferFull) {
				return ' ', nil
			}
			return 0, readError(err)
		}
		if c := seen[n-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, nil
		}
	}
}

// next returns the next line without its line ending. For a line that is too long,
// which it skips, it returns errRowTooLong.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	tooLong := false
	l.quotes = 0
	for {
		part, err := l.r.ReadSlice(l.end)
		l.quotes += bytes.Count(part, []byte{'"'})
		if !tooLong {
			line = append(line, part...)
		}
		if len(line) > MaxRowSize+2 {
			tooLong, line = true, nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(part) == 0 && len(line) == 0 && !tooLong):
			return nil, readError(err)
		}
		l.line++
		if tooLong {
			return nil, errRowTooLong
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
	}
}

func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("read the file: %w", err)
}

// jsonRows reads JSONL.
type jsonRows struct {
	lines    *lineReader
	taskType string
	rows     int
}

func (j *jsonRows) next() (row, error) {
	for {
		line, err := j.lines.next()
		if err != nil && !isRowError(err) {
			return row{}, err
		}
		line = bytes.TrimSpace(line)
		if err == nil && len(line) == 0 {
			continue
		}
		if j.rows == 0 && err == nil && isOpen(line) {
			return row{}, refusedf("the file has an object over several lines; %s", oneObjectPerLine("jq -c ."))
		}
		j.rows++
		return row{
			number:   j.rows,
			line:     j.lines.line,
			raw:      line,
			from:     j,
			taskType: j.taskType,
			err:      err,
		}, nil
	}
}

// isOpen reports whether a line is the beginning of an object that goes on in the
// next line, as in indented JSON.
func isOpen(line []byte) bool {
	return !json.Valid(line) && bytes.ContainsRune([]byte("{[,"), rune(line[len(line)-1]))
}

// decode decodes {"type":…,"payload":{…},"key":…}. No error quotes the line.
func (*jsonRows) decode(r *row) error {
	if !utf8.Valid(r.raw) {
		return rowErrorf("the row must be UTF-8")
	}
	if !json.Valid(r.raw) {
		return rowErrorf("the row is not JSON")
	}
	if r.raw[0] != '{' {
		return rowErrorf("the row must be an object with type, payload and key")
	}
	if problems := payload.Unfaithful(r.raw); len(problems) > 0 {
		return rowErrorf("%s %s", problems[0].Field, problems[0].Rule)
	}
	for name, value := range strictjson.Members(r.raw) {
		var err error
		switch field := string(name); field {
		case "type":
			err = decodeText(field, value, &r.taskType)
		case "key":
			err = decodeText(field, value, &r.key)
		case "payload":
			r.payload = value
		default:
			err = rowErrorf("%s is unknown; a row has type, payload and key", produce.Truncate(field))
		}
		if err != nil {
			return err
		}
	}
	switch {
	case r.taskType == "":
		return rowErrorf("type is required (or --type)")
	case r.payload == nil:
		return rowErrorf("payload is required")
	}
	return checkType(r.taskType)
}

func decodeText(field string, raw json.RawMessage, into *string) error {
	if raw[0] != '"' || json.Unmarshal(raw, into) != nil {
		return rowErrorf("%s must be text", field)
	}
	if strings.TrimSpace(*into) == "" {
		return rowErrorf("%s must not be empty", field)
	}
	return nil
}

// checkType refuses an unknown type. The error does not quote it: it goes into the
// receipt, and a malformed row may have personal data in this place.
func checkType(taskType string) error {
	if _, ok := all.Vendors.Find(taskType); ok {
		return nil
	}
	if similar := produce.SimilarTypes(taskType); len(similar) > 0 {
		return rowErrorf("type is not a task type; did you mean %s?", strings.Join(similar, " or "))
	}
	return rowErrorf("type is not a task type; 'enqueue types' lists them")
}
