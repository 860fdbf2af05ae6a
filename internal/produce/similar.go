package produce

import (
	"slices"
	"strings"

	"errand.internal/tasks/all"
)

// SimilarTypes lists the task types that a misspelt one may stand for, the most
// similar first.
func SimilarTypes(given string) []string {
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

// Truncate shortens a text for an error message, so that a payload given by mistake
// is not shown in full.
func Truncate(text string) string {
	const maxRunes = 40
	if runes := []rune(text); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "…"
	}
	return text
}
