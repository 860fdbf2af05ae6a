package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"errand.internal/internal/bulk"
	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/terminal"
	"errand.internal/tasks"
)

// Exit codes. Those of the outcomes are in produce.Outcomes.
const (
	exitOK          = 0
	exitUnexpected  = 1
	exitUsage       = 2 // wrong command line or settings
	exitRefused     = 3 // the input is invalid; nothing was enqueued
	exitRedis       = 4 // Redis cannot be reached, or cannot store the task now
	exitParked      = 6 // when the wait ended
	exitRowsRefused = 9 // bulk finished with refused rows
	exitTimeout     = 10
	exitNoTask      = 13 // or it can no longer be cancelled
	exitInterrupted = 130
)

// outcomeExitCode returns the exit code of --wait for an outcome.
func outcomeExitCode(o tasks.Outcome) int {
	for _, known := range produce.Outcomes {
		if known.Outcome == o {
			return known.ExitCode
		}
	}
	return exitUnexpected
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

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func refusedf(format string, args ...any) error {
	return &exitError{exitRefused, fmt.Errorf(format, args...)}
}

// errInterrupted reports a signal that arrived before anything was stored.
var errInterrupted error = &exitError{
	exitInterrupted,
	errors.New("interrupted; nothing was enqueued"),
}

// exitCodeOf returns the exit code of an error.
func exitCodeOf(ctx context.Context, err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, file := errors.AsType[*bulk.FileError](err); file || produce.Refused(err) {
		return exitRefused
	}
	if _, started := errors.AsType[*tasks.StartedError](err); started ||
		errors.Is(err, tasks.ErrNotFound) ||
		errors.Is(err, record.ErrBadID) {
		return exitNoTask
	}
	switch {
	case errors.Is(err, tasks.ErrKeysRequired), errors.Is(err, tasks.ErrUnknownType),
		errors.Is(err, bulk.ErrNoType), errors.Is(err, bulk.ErrKeyColumn), redisconn.NoDatabase(err):
		return exitUsage
	case errors.Is(err, bulk.ErrInterrupted), ctx.Err() != nil:
		return exitInterrupted
	case produce.Unavailable(err):
		return exitRedis
	}
	return exitUnexpected
}

// printErr writes one line to stderr.
func (inv *invocation) printErr(text string) {
	_, _ = fmt.Fprintf(inv.stderr, "%s: %s\n", commandName, terminal.Text(text))
}

// reportError explains an error on stderr, with one line per problem.
func (inv *invocation) reportError(code int, err error) {
	if invalid, ok := errors.AsType[*tasks.PayloadError](err); ok {
		for _, line := range produce.Lines(invalid) {
			inv.printErr(line)
		}
		return
	}
	if _, full := errors.AsType[*tasks.FullError](err); full {
		inv.printErr(err.Error())
		return
	}
	switch code {
	case exitUsage:
		if redisconn.NoDatabase(err) {
			err = redisconn.ErrNoDatabase
		}
		for line := range strings.Lines(err.Error()) {
			inv.printErr(strings.TrimSuffix(line, "\n"))
		}
	case exitRedis:
		inv.printErr("Redis (REDIS_URL) cannot be used: " + err.Error())
		if explained := redisguard.Explain(err); explained != "" {
			inv.printErr(explained)
		}
		if unconfirmed, ok := errors.AsType[*tasks.UnconfirmedError](err); ok {
			inv.printErr("if it was stored, the task is " + unconfirmed.ID)
		}
	case exitInterrupted:
		if _, explained := errors.AsType[*exitError](err); !explained && !errors.Is(err, bulk.ErrInterrupted) {
			err = fmt.Errorf("interrupted: %w", err)
		}
		inv.printErr(err.Error())
	default:
		inv.printErr(err.Error())
	}
}
