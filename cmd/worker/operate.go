package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
)

// operate calls do with an Operator, and gives its error the exit code that it has in
// all commands of operators.
func (inv *invocation) operate(ctx context.Context, do func(o *operator.Operator) error) error {
	o, err := operator.Open(ctx, inv.environ)
	if err == nil {
		defer o.Close()
		err = do(o)
	}
	if err == nil {
		return nil
	}
	if redisconn.NoDatabase(err) {
		return err
	}
	_, usage := errors.AsType[*operator.UsageError](err)
	_, refused := errors.AsType[*operator.RefusedError](err)
	switch {
	case usage:
		return &exitError{exitUsage, err}
	case refused:
		return &exitError{exitRefused, err}
	case errors.Is(err, record.ErrNotFound), errors.Is(err, record.ErrBadID):
		return &exitError{exitNoTask, err}
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, err}
	case redisconn.NotNow(err):
		return &exitError{exitRedis, fmt.Errorf("cannot use Redis (REDIS_URL): %w", err)}
	}
	return err
}

// exitError is an error with an exit code.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string {
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *exitError) Unwrap() error {
	return e.err
}

// printJSON prints a value as JSON on one line.
func (inv *invocation) printJSON(v any) error {
	enc := json.NewEncoder(inv.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// tableRows is how many rows are aligned together.
const tableRows = 200

// newTable begins a table with its heading.
func (inv *invocation) newTable(heading ...string) *rows {
	return &rows{
		w:       tabwriter.NewWriter(inv.stdout, 0, 0, 2, ' ', 0),
		heading: heading,
	}
}

// rows is a table that is printed while it is read: the columns of some rows are aligned
// together.
type rows struct {
	w       *tabwriter.Writer
	heading []string
	n       int
}

// add adds a row.
func (t *rows) add(cells ...string) error {
	if t.n == 0 {
		t.write(t.heading)
	}
	t.write(cells)
	if t.n++; t.n%tableRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *rows) write(cells []string) {
	clean := make([]string, len(cells))
	for i, cell := range cells {
		if clean[i] = printable(cell); cell == "" {
			clean[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(t.w, strings.Join(clean, "\t")) // the flush returns the error
}

// printable replaces control characters, which may come from a vendor and must not reach
// the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
}

// timeFlag is a point in time on the command line: RFC 3339, or how long ago.
type timeFlag struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *timeFlag) UnmarshalText(text []byte) (err error) {
	if ago, err := time.ParseDuration(string(text)); err == nil && ago >= 0 {
		t.Time = time.Now().Add(-ago)
		return nil
	}
	if t.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return errors.New("must be how long ago, such as 90m or 24h, or an RFC 3339 time, such as 2026-12-31T09:00:00Z")
	}
	return nil
}

// stamp is a time as tables have it.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}
