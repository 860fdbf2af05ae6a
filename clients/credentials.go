package clients

import (
	"strings"

	"errand.internal/internal/secret"
)

// NotSet is the problem of a required setting without a value.
const NotSet = "is not set"

// BasicUserProblem says what is wrong with the user of an HTTP Basic login, for
// example the id of an OAuth client. It returns "" if nothing is.
func BasicUserProblem(user string) string {
	switch {
	case user == "":
		return NotSet
	case strings.Contains(user, ":"): // HTTP Basic ends the user at the first colon
		return "must not contain ':'"
	case HasControl(user) || strings.TrimSpace(user) != user:
		return "must not contain control characters or begin or end with a space"
	}
	return ""
}

// SecretProblem says what is wrong with a password or a client secret, without
// quoting it. It returns "" if nothing is. Spaces are allowed.
func SecretProblem(value secret.String) string {
	switch {
	case value.Empty():
		return NotSet
	case HasControl(value.Reveal()):
		return "must not contain control characters, such as the end of a line"
	}
	return ""
}

// HasControl reports whether s contains an ASCII control character.
func HasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// VisibleASCII reports whether s consists of visible ASCII characters only, so
// that it can be sent as a token in a header. A space is not visible.
func VisibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
