package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/produce"
)

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
