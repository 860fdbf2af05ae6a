package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/ledger"
	"errand.internal/internal/redisconn"
	"errand.internal/tasks"
)

// Exit codes.
const (
	exitOK          = 0
	exitFault       = 1
	exitUsage       = 2 // wrong command line or settings
	exitRefused     = 3 // the input breaks a rule; nothing was enqueued
	exitRedis       = 4 // Redis cannot be reached, or takes no writes
	exitDeclined    = 5
	exitParked      = 6 // when the wait ended
	exitUnknown     = 7
	exitExpired     = 8
	exitRows        = 9 // bulk finished with refused rows
	exitTimeout     = 10
	exitFailed      = 11 // failed, invalid
	exitWithdrawn   = 12 // cancelled, superseded
	exitNoTask      = 13 // or it cannot be cancelled any more
	exitInterrupted = 130
)

// outcomeCode is the exit code of --wait.
func outcomeCode(o tasks.Outcome) int {
	switch o {
	case tasks.Done:
		return exitOK
	case tasks.Declined:
		return exitDeclined
	case tasks.Superseded, tasks.Cancelled:
		return exitWithdrawn
	case tasks.Invalid, tasks.Failed:
		return exitFailed
	case tasks.Unknown:
		return exitUnknown
	case tasks.Expired:
		return exitExpired
	}
	return exitFault
}

// fault is an error with its exit code.
type fault struct {
	code int
	err  error
}

// Error implements error.
func (f *fault) Error() string {
	return f.err.Error()
}

// Unwrap gives the cause.
func (f *fault) Unwrap() error {
	return f.err
}

func usagef(format string, args ...any) error {
	return &fault{exitUsage, fmt.Errorf(format, args...)}
}

func refusedf(format string, args ...any) error {
	return &fault{exitRefused, fmt.Errorf(format, args...)}
}

// errInterrupted: a signal came before anything was stored.
var errInterrupted error = &fault{
	exitInterrupted,
	errors.New("interrupted; nothing was enqueued"),
}

// codeOf is the exit code of an error.
func codeOf(ctx context.Context, err error) int {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.code
	}
	if refused(err) {
		return exitRefused
	}
	if _, started := errors.AsType[*tasks.StartedError](err); started ||
		errors.Is(err, tasks.ErrNotFound) ||
		errors.Is(err, ledger.ErrBadID) {
		return exitNoTask
	}
	switch {
	case errors.Is(err, tasks.ErrUnknownType):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	case redisTrouble(err):
		return exitRedis
	}
	return exitFault
}

// refused reports whether the input is at fault.
func refused(err error) bool {
	_, wrong := errors.AsType[*tasks.PayloadError](err)
	return wrong || errors.Is(err, tasks.ErrKeyConflict)
}

// redisTrouble reports whether Redis could not be asked, or could not take the
// task: the same command may work later. Whatever went wrong between the two
// steps of storing a task is of this kind; asynq hands out its text only.
func redisTrouble(err error) bool {
	if _, unconfirmed := errors.AsType[*tasks.UnconfirmedError](err); unconfirmed {
		return true
	}
	if redisconn.Unreachable(err) || redis.IsOOMError(err) || redis.IsReadOnlyError(err) ||
		redis.IsNoReplicasError(err) ||
		redis.IsTryAgainError(err) {
		return true
	}
	// go-redis has no names for a Redis that cannot save to disk, and for a server
	// that is no Redis at all.
	return strings.Contains(err.Error(), "MISCONF ") ||
		strings.Contains(err.Error(), "redis: can't parse")
}

// complain writes one line to stderr.
func (s *session) complain(text string) {
	_, _ = fmt.Fprintf(s.stderr, "%s: %s\n", name, printable(text))
}

// explain says what an error means: one line for each thing at fault.
func (s *session) explain(code int, err error) {
	if wrong, ok := errors.AsType[*tasks.PayloadError](err); ok {
		for _, line := range problemLines(wrong) {
			s.complain(line)
		}
		return
	}
	switch code {
	case exitUsage:
		for line := range strings.Lines(err.Error()) {
			s.complain(strings.TrimSuffix(line, "\n"))
		}
	case exitRedis:
		s.complain("Redis (REDIS_URL) cannot be used: " + err.Error())
		if lost, ok := errors.AsType[*tasks.UnconfirmedError](err); ok {
			s.complain("the task would be " + lost.ID)
		}
	case exitInterrupted:
		if _, said := errors.AsType[*fault](err); !said {
			err = fmt.Errorf("interrupted: %w", err)
		}
		s.complain(err.Error())
	default:
		s.complain(err.Error())
	}
}

// problemLines are the faults of a payload, each with its field and rule.
func problemLines(wrong *tasks.PayloadError) []string {
	var lines []string
	for _, p := range wrong.Problems {
		if p.Field == "" {
			lines = append(lines, p.Rule)
			continue
		}
		lines = append(lines, p.Field+" "+p.Rule)
	}
	return lines
}
