package admission

import "testing"

// FuzzReason stores reasons of refusals. What is stored can be printed on one line.
func FuzzReason(f *testing.F) {
	f.Add("the login was answered with HTTP 401")
	f.Add("é\x00\n\u2028 \xff~")
	f.Fuzz(func(t *testing.T, reason string) {
		stored := Failure{Reason: reason}.bounded().Reason
		if len(stored) > maxReason || storable(stored) != stored || len(stored) > len(reason) {
			t.Errorf("%q is stored as %q", reason, stored)
		}
		for _, c := range []byte(stored) {
			if c < ' ' || c > '~' {
				t.Errorf("%q is stored as %q", reason, stored)
			}
		}
	})
}
