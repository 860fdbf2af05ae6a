package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/time/rate"

	"errand.internal/internal/bulk"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// bulkCommand is `enqueue bulk FILE|-`.
type bulkCommand struct {
	File      string        `arg:"" placeholder:"FILE|-" help:"JSONL or CSV file; - reads stdin."`
	Type      string        `placeholder:"TYPE" help:"Task type of the rows that do not name one; required for CSV."`
	Receipt   string        `placeholder:"FILE" help:"Write the receipt to FILE, not stdout; overwrites an existing file."`
	Rate      settings.Rate `placeholder:"N/s" help:"Enqueue at most N rows per second, or per period: 100/1m."`
	MaxErrors *errorLimit   `placeholder:"N|N%" help:"Stop once more than N rows are refused; N% counts from row 100 on."`
	KeyColumn string        `placeholder:"NAME" help:"The CSV column that has the rows' keys; it may be a field's, too."`
	taskFlags
	DryRun bool `help:"Check every row; nothing is enqueued, and Redis is not asked."`
	JSON   bool `name:"json" help:"Print the summary to stdout as one JSON object."`
}

// Help returns the detailed help that kong prints.
func (c *bulkCommand) Help() string {
	return `JSONL: one object per line, {"type":…,"payload":{…},"key":…}. With --type, the type may be omitted.

CSV: a header row of field paths, as in --set (values.COD1_EMAIL, body.Lines[0].Text), then one row per task. The
separator is a comma, semicolon, tab or |, whichever the header uses or a first line such as sep=; names. An empty cell
omits its field. All cells of a column have the type of its field; those of a free body are text, unless the header
names another type: body.Days:number, :bool, :json or :text.

The key of a create is its ExternalReference, if it has one; a row's "key" may only repeat it. Any other row without a
key gets a digest of its type and payload as its key. So running the same file again enqueues only the missing rows, and
identical rows become one task. What may happen again, such as a person who leaves twice, needs a key that tells the
times apart: "key" in JSONL, a column named by --key-column in CSV.

--in, --at, --usable-for and --notify hold for every row.

The receipt has one JSON line per row, in file order: row (counted from 1, without the header and empty lines), key,
and either id (with duplicate, if the task already existed) or error. Of the payload it holds only the key.`
}

// errorLimit is the value of --max-errors: how many refused rows are tolerated.
type errorLimit struct {
	n       float64
	percent bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *errorLimit) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || n > 1e15 || percent && n > 100 ||
		!percent && n != float64(int64(n)) {
		return errors.New("must be a number of rows, such as 20, or a percentage, such as 5%")
	}
	*l = errorLimit{n, percent}
	return nil
}

// minSample is the number of rows below which a percentage means nothing.
const minSample = 100

func (l *errorLimit) exceeded(refused, rows int) bool {
	switch {
	case l == nil:
		return false
	case l.percent:
		return rows >= minSample && float64(refused) > l.n*float64(rows)/100
	}
	return float64(refused) > l.n
}

func (c *bulkCommand) run(ctx context.Context, inv *invocation) (int, error) {
	if c.Type != "" {
		if _, ok := all.Vendors.Find(c.Type); !ok {
			return 0, unknownTypeError(c.Type)
		}
	}
	opts, err := c.options(inv.now())
	if err != nil {
		return 0, joinUsageErrors(err)
	}
	file, err := c.openInput(inv)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = file.Close()
	}()
	client, closeClient, err := c.openClient(inv)
	if err != nil {
		return 0, err
	}
	defer closeClient()
	receipt, closeReceipt, err := c.openReceipt(inv, file)
	if err != nil {
		return 0, err
	}
	counter := &countingReader{from: file}
	r := &bulkReceipts{
		invocation: inv,
		out:        receipt,
		progress:   newProgress(inv, c.Receipt != "", counter, file),
	}
	sum, failure := bulk.Run(ctx, bulk.Config{
		Client:    client,
		File:      c.File,
		From:      counter,
		Type:      c.Type,
		KeyColumn: c.KeyColumn,
		Options:   opts,
		DryRun:    c.DryRun,
		Limiter:   c.limiter(),
		TooMany:   c.MaxErrors.exceeded,
		Done:      r.write,
	})
	if err := closeReceipt(); err != nil && failure == nil {
		failure = fmt.Errorf("write the receipt: %w", err)
	}
	r.progress.clear()
	inv.summarize(sum, c.DryRun, c.JSON)
	switch {
	case failure != nil:
		return 0, failure
	case sum.Stopped == "errors":
		inv.printErr("stopped: too many rows were refused (--max-errors)")
		return exitRowsRefused, nil
	case sum.Refused > 0:
		return exitRowsRefused, nil
	}
	return exitOK, nil
}

// openClient opens the client and checks that Redis can be reached. A dry run has none.
func (c *bulkCommand) openClient(inv *invocation) (*tasks.Client, func(), error) {
	if c.DryRun {
		return nil, func() {}, nil
	}
	client, err := inv.openClient(true)
	if err != nil {
		return nil, nil, err
	}
	return client, func() { _ = client.Close() }, nil
}

// limiter returns the limit of --rate.
func (c *bulkCommand) limiter() *rate.Limiter {
	if c.Rate.IsZero() {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(c.Rate.N)/c.Rate.Per.Seconds()), 1)
}

// openInput opens the input file.
func (c *bulkCommand) openInput(inv *invocation) (io.ReadCloser, error) {
	if c.File == "-" {
		return io.NopCloser(inv.stdin), nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, usagef("%w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		_ = f.Close()
		return nil, usagef("%s is a directory", c.File)
	}
	return f, nil
}

// openReceipt opens the file for the receipt. Only its owner may read it, because
// keys may be personal data.
func (c *bulkCommand) openReceipt(
	inv *invocation,
	input io.Reader,
) (io.Writer, func() error, error) {
	if c.Receipt == "" || c.Receipt == "-" {
		return inv.stdout, func() error { return nil }, nil
	}
	if f, ok := input.(*os.File); ok {
		inputInfo, inputErr := f.Stat()
		receiptInfo, receiptErr := os.Stat(c.Receipt)
		if inputErr == nil && receiptErr == nil && os.SameFile(inputInfo, receiptInfo) {
			return nil, nil, usagef("--receipt must not be the input file")
		}
	}
	f, err := os.OpenFile(c.Receipt, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, usagef("--receipt: %w", err)
	}
	return f, f.Close, nil
}

// maxShownRefusals is how many refused rows stderr names; the receipt has all.
const maxShownRefusals = 10

// bulkReceipts writes the receipts of a run, and shows its refused rows and progress.
type bulkReceipts struct {
	*invocation
	out      io.Writer
	progress *progress
	rows     int
	refused  int
}

// write writes the receipts of some rows.
func (r *bulkReceipts) write(rows []bulk.Row) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for _, row := range rows {
		r.rows++
		if row.Refused {
			r.showRefused(row)
		}
		if err := enc.Encode(row.Receipt); err != nil {
			return err
		}
	}
	_, err := r.out.Write(lines.Bytes())
	r.progress.draw(r.rows, r.refused)
	return err
}

func (r *bulkReceipts) showRefused(row bulk.Row) {
	switch r.refused++; {
	case r.refused <= maxShownRefusals:
		r.progress.clear()
		position := fmt.Sprintf("row %d", row.Row)
		if row.Line != row.Row {
			position += fmt.Sprintf(" (line %d)", row.Line)
		}
		r.printErr(position + ": " + row.Error)
	case r.refused == maxShownRefusals+1:
		r.progress.clear()
		r.printErr("more rows were refused; the receipt lists them all")
	}
}

// summarize prints the result of a run.
func (inv *invocation) summarize(sum bulk.Summary, dryRun, asJSON bool) {
	if asJSON {
		inv.printJSON(sum)
		return
	}
	enqueued := fmt.Sprintf("%d enqueued", sum.Enqueued)
	if dryRun {
		enqueued = fmt.Sprintf("%d valid", sum.Valid)
	}
	text := fmt.Sprintf("%d rows: %s, %d duplicates, %d refused", sum.Rows, enqueued, sum.Duplicates, sum.Refused)
	if sum.Failed > 0 {
		text += fmt.Sprintf(", %d failed", sum.Failed)
	}
	inv.printErr(text)
	if dryRun {
		inv.printErr("dry run: nothing was enqueued")
	}
}
