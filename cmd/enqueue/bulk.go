package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/time/rate"

	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// bulkCommand is `enqueue bulk FILE|-`.
type bulkCommand struct {
	File      string        `arg:"" placeholder:"FILE|-" help:"JSONL or CSV file, - for stdin."`
	Type      string        `placeholder:"TYPE" help:"Task type of every row that names none; needed for CSV."`
	Receipt   string        `placeholder:"FILE" help:"Write the receipt there instead of to stdout. An earlier one is replaced."`
	Rate      settings.Rate `placeholder:"N/s" help:"Enqueue at most so many rows in that time, such as 50/s."`
	MaxErrors *errorLimit        `placeholder:"N|N%" help:"Stop once more rows than that are refused; N% counts from the 100th row on."`
	JSON      bool          `name:"json" help:"Print the summary as one JSON object to stdout."`
}

// Help is kong's detailed help.
func (c *bulkCommand) Help() string {
	return `JSONL: one object per line, {"type":…,"payload":{…},"key":…}; type may be left out with --type.

CSV: a header row of field paths as in --set (values.COD1_EMAIL), then one row per task. Comma, semicolon or tab
separates, whichever the header uses. An empty cell leaves its field out.

The key of a row defaults to a digest of its type and payload, so running the same file again enqueues only what is
missing. Two rows that are alike are one task.

The receipt has one JSON line per row, in the file's order: row (without header and empty lines, from 1), key, and id
(with duplicate, if the task was there already) or error. It holds nothing of the payload but a digest.`
}

// errorLimit is how many refused rows are too many.
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
		return errors.New("must be a number of rows, such as 20, or a share, such as 5%")
	}
	*l = errorLimit{n, percent}
	return nil
}

// minSample is how many rows a share needs to mean anything.
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
		if _, ok := tasks.Find(c.Type); !ok {
			return 0, unknownTypeError(c.Type)
		}
	}
	file, err := c.openInput(inv)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = file.Close()
	}()
	client, err := inv.openClient(true)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()
	receipt, closeReceipt, err := c.openReceipt(inv, file)
	if err != nil {
		return 0, err
	}
	counted := &countingReader{from: file}
	b := &bulkRun{
		invocation:   inv,
		client:    client,
		taskType:  c.Type,
		maxErrors: c.MaxErrors,
		receipt:   receipt,
		progress:  newProgress(inv, c.Receipt != "", counted, file),
		limiter:   rate.NewLimiter(rate.Inf, 1),
	}
	if !c.Rate.IsZero() {
		b.limiter = rate.NewLimiter(rate.Limit(float64(c.Rate.N)/c.Rate.Per.Seconds()), 1)
	}
	b.run(ctx, c.File, counted)
	if err := closeReceipt(); err != nil && b.failure == nil {
		b.failure = fmt.Errorf("write the receipt: %w", err)
	}
	b.progress.end()
	b.summarize(c.JSON)
	return b.exitCode(ctx)
}

// openInput opens the file to read.
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

// openReceipt opens what the openReceipt is written to. Only its owner may read it: the
// keys in it may be personal.
func (c *bulkCommand) openReceipt(
	inv *invocation,
	input io.Reader,
) (io.Writer, func() error, error) {
	if c.Receipt == "" || c.Receipt == "-" {
		return inv.stdout, func() error { return nil }, nil
	}
	if in, ok := input.(*os.File); ok {
		a, errA := in.Stat()
		b, errB := os.Stat(c.Receipt)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return nil, nil, usagef("--receipt is the file to read")
		}
	}
	f, err := os.OpenFile(c.Receipt, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, usagef("--receipt: %w", err)
	}
	return f, f.Close, nil
}
