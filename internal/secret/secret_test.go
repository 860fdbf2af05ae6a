package secret_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"errand.internal/internal/secret"
)

func TestStringNeverShowsItsValue(t *testing.T) {
	t.Parallel()
	const canary = "hunter2-canary"
	holder := struct {
		Password secret.String
		Pointer  *secret.String
	}{Password: secret.New(canary), Pointer: new(secret.New(canary))}

	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	seen := []string{string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		seen = append(
			seen,
			fmt.Sprintf(verb, holder),
			fmt.Sprintf(verb, holder.Password),
			fmt.Sprintf(verb, holder.Pointer),
		)
	}
	for _, text := range seen {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("the value shows in %q", text)
		}
	}
	if got := holder.Password.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want the value", got)
	}
}

func TestStringReadsFromText(t *testing.T) {
	t.Parallel()
	var s secret.String
	if err := s.UnmarshalText([]byte("k+/=&")); err != nil {
		t.Fatal(err)
	}
	if !s.Equal("k+/=&") || s.Equal("other") || s.Empty() {
		t.Errorf("UnmarshalText kept %q", s.Reveal())
	}
}
