package clients_test

import (
	"testing"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

func TestCredentialProblems(t *testing.T) {
	t.Parallel()
	const (
		control = "must not contain control characters, such as the end of a line"
		edges   = "must not contain control characters or begin or end with a space"
		colon   = "must not contain ':'"
	)
	tests := []struct {
		name, value  string
		user, secret string // the problems, "" for none
	}{
		{"plain", "ñandu@acme", "", ""},
		{"empty", "", clients.NotSet, clients.NotSet},
		{"colon", "a:b", colon, ""},
		{"line end", "a\n", edges, control},
		{"delete", "a\x7fb", edges, control},
		{"leading space", " a", edges, ""},
		{"trailing space", "a ", edges, ""},
		{"space inside", "a b", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := clients.BasicUserProblem(tt.value); got != tt.user {
				t.Errorf("user: %q, want %q", got, tt.user)
			}
			if got := clients.SecretProblem(secret.New(tt.value)); got != tt.secret {
				t.Errorf("secret: %q, want %q", got, tt.secret)
			}
		})
	}
}

func TestVisibleASCII(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":        true,
		"aZ9._~!": true,
		"a b":     false,
		"a\n":     false,
		"a\x7f":   false,
		"ñ":       false,
	} {
		if got := clients.VisibleASCII(text); got != want {
			t.Errorf("VisibleASCII(%q) = %v", text, got)
		}
	}
}
