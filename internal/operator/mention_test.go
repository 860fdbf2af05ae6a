package operator

import "testing"

// What names a person is found in JSON, and in what is none.
func TestMentions(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]bool{
		`{"to":"ANA@example.com"}`:           true,
		`{"text":"for ana@example.com now"}`: true,
		`[1,{"phone":4512345678}]`:           false,
		`{"to":"eva@example.com"}`:           false,
		``:                                   false,
		`to=ana@example.com&x=1`:             true, // no JSON at all
		`{"n":1,"to":"ana@example.com"`:      true, // cut off
		`{"n":1} trailing ana@example.com`:   true,
		`{"n":1,`:                            false,
	} {
		if got := mentions([]byte(document), "ana@example.com"); got != want {
			t.Errorf("%s: %v, want %v", document, got, want)
		}
	}
}
