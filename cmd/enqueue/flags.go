package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/tasks"
)

// taskFlags are the flags of every command that enqueues.
type taskFlags struct {
	In        *durationFlag `xor:"start" placeholder:"10m" help:"Start after this long."`
	At        *timeFlag     `xor:"start" placeholder:"TIME" help:"Start at this time (RFC 3339)."`
	UsableFor *durationFlag `placeholder:"90s" help:"End a task as expired if it cannot run within this time after its start."`
	Notify    bool          `help:"Send a task.finished event when a task ends."`
}

// timing returns what the flags say about when a task may run.
func (f taskFlags) timing() produce.Timing {
	return produce.Timing{
		In:        (*time.Duration)(f.In),
		At:        (*time.Time)(f.At),
		UsableFor: (*time.Duration)(f.UsableFor),
	}
}

// options checks the flags and returns the options to enqueue with.
func (f taskFlags) options(now time.Time) ([]tasks.Option, error) {
	opts, err := f.timing().Options(now, produce.TimingNames{
		In:        "--in",
		At:        "--at",
		UsableFor: "--usable-for",
	})
	if f.Notify {
		opts = append(opts, tasks.Notify())
	}
	return opts, err
}

// overlong matches a duration that time.ParseDuration refuses only because it is too
// long.
var overlong = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+$`)

// valueFlags are the flags whose value may begin with a minus sign: a negative
// duration, which is refused with its own words, or a key.
var valueFlags = []string{"--in", "--usable-for", "--wait", "--key", "--set", "--rate", "--max-errors"}

// joinNegativeValues writes --in -5m as --in=-5m. The parser would take -5m for
// another flag.
func joinNegativeValues(args []string) []string {
	joined := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(joined, args[i:]...)
		}
		if slices.Contains(valueFlags, arg) && i+1 < len(args) && negative.MatchString(args[i+1]) {
			i++
			arg += "=" + args[i]
		}
		joined = append(joined, arg)
	}
	return joined
}

var negative = regexp.MustCompile(`^-[0-9.]`)

// durationFlag is a duration on the command line.
type durationFlag time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *durationFlag) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	switch {
	case err != nil && overlong.Match(text):
		return errors.New("is too long; it must be within ten years")
	case err != nil:
		return errors.New("must be a duration, such as 90s, 10m or 1h30m")
	}
	*d = durationFlag(parsed)
	return nil
}

// timeFlag is a point in time on the command line.
type timeFlag time.Time

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *timeFlag) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return errors.New("must be an RFC 3339 time, such as 2026-12-31T09:00:00Z or 2026-12-31T09:00:00-03:00")
	}
	*t = timeFlag(parsed)
	return nil
}

// unknownTypeError returns the error for a type that does not exist. It suggests
// similar ones.
func unknownTypeError(given string) error {
	if similar := produce.SimilarTypes(given); len(similar) > 0 {
		return usagef(
			"there is no task type %q; did you mean %s?",
			produce.Truncate(given),
			strings.Join(similar, " or "),
		)
	}
	return usagef("there is no task type %q; 'enqueue types' lists them", produce.Truncate(given))
}
