package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"errand.internal/tasks/all"
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

// formatDuration formats a duration without trailing zero units: 2m, 72h.
func formatDuration(d time.Duration) string {
	text := d.String()
	for _, zeros := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zeros) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// unknownTypeError returns the error for a type that does not exist. It suggests
// similar ones.
func unknownTypeError(given string) error {
	if similar := similarTypes(given); len(similar) > 0 {
		return usagef(
			"there is no task type %q; did you mean %s?",
			truncate(given),
			strings.Join(similar, " or "),
		)
	}
	return usagef("there is no task type %q; 'enqueue types' lists them", truncate(given))
}

// similarTypes lists the task types that a misspelt one may stand for, the most
// similar first.
func similarTypes(given string) []string {
	const maxSuggestions = 3
	type candidate struct {
		name     string
		distance int
	}
	given = strings.ToLower(given)
	if len(given) < 3 || len(given) > 64 {
		return nil
	}
	var candidates []candidate
	for _, info := range all.Vendors.Types() {
		d := levenshtein(given, info.Type)
		if strings.Contains(info.Type, given) {
			d = 1 // part of a name, such as "otp:send"
		}
		if d <= max(2, len(given)/3) {
			candidates = append(candidates, candidate{info.Type, d})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return a.distance - b.distance
	})
	var names []string
	for _, c := range candidates[:min(maxSuggestions, len(candidates))] {
		names = append(names, c.name)
	}
	return names
}

// levenshtein returns the edit distance in bytes between a and b.
func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// truncate shortens a text for an error message, so that a payload given by mistake
// is not shown in full.
func truncate(text string) string {
	const maxRunes = 40
	if runes := []rune(text); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "…"
	}
	return text
}
