package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"errand.internal/tasks"
)

// durationFlag is a duration on the command line.
type durationFlag time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *durationFlag) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
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
		return errors.New(
			"must be a time in RFC 3339, such as 2026-12-31T09:00:00Z or 2026-12-31T09:00:00-03:00",
		)
	}
	*t = timeFlag(parsed)
	return nil
}

// formatDuration writes a duration without the zeros at its end: 2m, 72h.
func formatDuration(d time.Duration) string {
	text := d.String()
	for _, zeros := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zeros) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// unknownTypeError is the error for a type that does not exist.
func unknownTypeError(given string) error {
	if near := similarTypes(given); len(near) > 0 {
		return usagef(
			"there is no task type %q; did you mean %s?",
			truncate(given),
			strings.Join(near, " or "),
		)
	}
	return usagef(
		"there is no task type %q; 'enqueue types' lists them",
		truncate(given),
	)
}

// similarTypes lists the task types that a misspelt one may have meant, the likeliest
// first.
func similarTypes(given string) []string {
	const most = 3
	type candidate struct {
		name     string
		distance int
	}
	given = strings.ToLower(given)
	if len(given) < 3 || len(given) > 64 {
		return nil
	}
	var near []candidate
	for _, info := range tasks.Types() {
		d := levenshtein(given, info.Type)
		if strings.Contains(info.Type, given) {
			d = 1 // "otp:send": a part of the name
		}
		if d <= max(2, len(given)/3) {
			near = append(near, candidate{info.Type, d})
		}
	}
	slices.SortStableFunc(
		near,
		func(a, b candidate) int { return a.distance - b.distance },
	)
	var names []string
	for _, c := range near[:min(most, len(near))] {
		names = append(names, c.name)
	}
	return names
}

// levenshtein is Levenshtein's: how many bytes must be changed, added or left out.
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

// truncate keeps a payload that was pasted in the wrong place off the screen.
func truncate(text string) string {
	const most = 40
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
