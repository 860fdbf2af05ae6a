package danaconnect

import (
	"maps"
	"slices"
	"strings"
)

// recipientSubjects are the values by which a task is found: those that are an address
// or a phone number, or all of them if none is.
func recipientSubjects(values Values) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.Value
	}
	return reachable(texts)
}

// subjects are recipientSubjects of a contact's fields.
func (f Fields) subjects() []string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if text, ok := f[name].(string); ok {
			texts = append(texts, text)
		}
	}
	return reachable(texts)
}

func reachable(texts []string) []string {
	var found []string
	for _, text := range texts {
		if strings.Contains(text, "@") || isPhone(text) {
			found = append(found, text)
		}
	}
	if len(found) == 0 {
		return texts
	}
	return found
}

// isPhone reports whether a text may be a phone number: at least 7 digits, and what is
// written between them.
func isPhone(text string) bool {
	digits := 0
	for _, r := range text {
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	return digits >= 7 && strings.Trim(text, "0123456789+-()./ ") == ""
}
