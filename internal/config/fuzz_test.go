package config

import (
	"regexp"
	"strings"
	"testing"

	"errand.internal/internal/settings"
)

var namesVariable = regexp.MustCompile(`^[A-Z][A-Z0-9_]+: `)

// FuzzSettings gives any two settings any value. Every problem is a line that names its
// variable and quotes no secret, and a value that is refused is refused every time.
func FuzzSettings(f *testing.F) {
	names := variables()
	for i, v := range names {
		f.Add(uint(i), wrongValues[v.Name], uint(i+1), "canary-secret")
		f.Add(uint(i), v.Default, uint(0), "redis://u:canary-secret@h:1/0")
	}
	f.Fuzz(func(t *testing.T, first uint, value string, second uint, other string) {
		with := map[string]string{}
		secrets := ""
		for _, s := range []struct {
			v     settings.Variable
			value string
		}{
			{names[first%uint(len(names))], value},
			{names[second%uint(len(names))], other},
		} {
			if strings.HasSuffix(s.v.Name, "_FILE") {
				continue // a path
			}
			with[s.v.Name] = s.value
			if !s.v.Secret && strings.Contains(s.value, "canary-secret") {
				secrets = s.v.Name // may be quoted
			}
		}
		environ := complete(with)
		v, err := Load(environ)
		if (v == nil) != (err != nil) {
			t.Fatalf("%q: settings %v beside %v", with, v != nil, err)
		}
		_, again := Load(environ)
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Errorf("%q: %v, and then %v", with, err, again)
		}
		if err == nil {
			if text := v.Queues.String(); with["WORKER_QUEUES"] != "" {
				var q Queues
				if err := q.UnmarshalText([]byte(text)); err != nil || q.String() != text {
					t.Errorf("%q is read as %q, and that as %q, %v", with, text, q, err)
				}
			}
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !namesVariable.MatchString(line) && !strings.HasPrefix(line, "no vendor has credentials") {
				t.Errorf("%q: the problem %q names no variable", with, line)
			}
			if secrets == "" && strings.Contains(line, "canary-secret") {
				t.Errorf("%q: the problem %q quotes a secret", with, line)
			}
		}
	})
}
