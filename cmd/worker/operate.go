package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/terminal"
)

// operate calls do with an Operator.
func (inv *invocation) operate(ctx context.Context, do func(o *operator.Operator) error) error {
	o, err := operator.Open(ctx, inv.environ)
	if err == nil {
		defer o.Close()
		err = do(o)
	}
	return operatorError(ctx, err)
}

// operatorError gives an error the exit code that it has in all commands of operators.
func operatorError(ctx context.Context, err error) error {
	if err == nil || redisconn.NoDatabase(err) {
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

// flush prints what is left of a table, and says if it has none, so that nobody takes that
// for an answer that is missing.
func (inv *invocation) flush(table *terminal.Table, none string) error {
	if table.Empty() {
		_, _ = fmt.Fprintf(inv.stderr, "worker: %s is found\n", none)
	}
	return table.Flush()
}

// printJSON prints a value as JSON on one line.
func (inv *invocation) printJSON(v any) error {
	enc := json.NewEncoder(inv.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
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
