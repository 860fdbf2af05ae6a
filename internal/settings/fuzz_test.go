package settings

import (
	"strings"
	"testing"
	"time"
)

// FuzzRate parses rates. What is shown of one is a rate again, the same.
func FuzzRate(f *testing.F) {
	for _, text := range []string{"95/1m", "5/s", "5/ms", "1/1h0m", "none", "", "0/1m", "1/-1s", "1/.5s", "٣/s", "1/1h/1h", "1/ 1s", "+5/s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil {
			if r != (Rate{}) || !strings.HasPrefix(err.Error(), errRate.Error()) {
				t.Errorf("%q: %v beside %v", text, r, err)
			}
			return
		}
		if r.IsZero() != (text == none) || !r.IsZero() && (r.N < 1 || r.Per < 1) {
			t.Fatalf("%q is read as %+v", text, r)
		}
		shown := r.String()
		if shown == "" {
			shown = none
		}
		var again Rate
		if err := again.UnmarshalText([]byte(shown)); err != nil || again != r {
			t.Errorf("%q is shown as %q, and that is %+v, %v", text, shown, again, err)
		}
	})
}

// FuzzLoad reads any value of each kind of setting. A field with a problem keeps its
// value, and no problem quotes a secret.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{"1", "true", "15s", "canary-secret", "a\x00", "\xff", "\u200b", "1e9", "0x10", " 1 ", "${HOME}", "none", "7"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, value, other string) {
		type kinds struct {
			Text   string        `env:"TEXT"`
			Secret string        `env:"SECRET" secret:"true"`
			Bool   bool          `env:"BOOL"`
			Int    int           `env:"INT"`
			Span   time.Duration `env:"SPAN"`
			List   []string      `env:"LIST"`
			Rate   Rate          `env:"RATE"`
			Count  Count         `env:"COUNT"`
		}
		before := kinds{
			Text: "before", Secret: "before", Int: -1, Span: -1, List: []string{"before"}, Rate: Rate{N: 1, Per: 1}, Count: 7,
		}
		got := before
		environ := map[string]string{
			"TEXT": other, "SECRET": value, "BOOL": other, "INT": other, "SPAN": other, "LIST": other, "RATE": other, "COUNT": other,
		}
		err := Load(&got, environ)
		for _, field := range []struct {
			name            string
			kept, unchanged bool
		}{
			{"TEXT", got.Text == other, got.Text == before.Text},
			{"SECRET", got.Secret == value, got.Secret == before.Secret},
			{"BOOL", true, !got.Bool},
			{"INT", true, got.Int == before.Int},
			{"SPAN", true, got.Span == before.Span},
			{"LIST", strings.Join(got.List, ",") == other, strings.Join(got.List, ",") == "before"},
			{"RATE", true, got.Rate == before.Rate},
			{"COUNT", true, got.Count == before.Count},
		} {
			if empty := environ[field.name] == ""; (Refused(err, field.name) || empty) && !field.unchanged || !Refused(err, field.name) && !empty && !field.kept {
				t.Errorf("%s=%q is read as %+v, %v", field.name, environ[field.name], got, err)
			}
		}
		if err != nil && value != other && strings.Contains(value, "canary-secret") && !strings.Contains(other, "canary-secret") &&
			strings.Contains(err.Error(), "canary-secret") {
			t.Errorf("%v quotes a secret", err)
		}
	})
}
