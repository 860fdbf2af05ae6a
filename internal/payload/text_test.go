package payload_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"errand.internal/internal/payload"
)

func TestCleanText(t *testing.T) {
	t.Parallel()
	const (
		idRule    = "must not contain blanks, control or invisible characters"
		lineRule  = "must be one line, without control or invisible characters"
		linesRule = "must not contain control characters"
		codeRule  = "must have only the letters A to Z and digits, without blanks"
		broken    = "contains a broken character (U+FFFD)"
	)
	for _, tc := range []struct {
		name        string
		kind        payload.TextKind
		text        string
		clean, rule string
	}{
		{"id", payload.ID, "u-1", "u-1", ""},
		{"id, pasted", payload.ID, "\ufeff\u200b u-1\u00a0\r\n", "u-1", ""},
		{"id of blanks", payload.ID, " \t\u00a0", "", ""},
		{"id with a blank", payload.ID, "u 1", "u 1", idRule},
		{"id with a no-break space", payload.ID, "u\u00a01", "u\u00a01", idRule},
		{"id with a zero-width space", payload.ID, "u\u200b1", "u\u200b1", idRule},
		{"id with a control character", payload.ID, "u\x001", "u\x001", idRule},
		{"id that is broken", payload.ID, "u\xff", "u\xff", broken},
		{"number", payload.Number, " 251\n", "251", ""},
		{"number, the largest", payload.Number, "9223372036854775807", "9223372036854775807", ""},
		{
			"number, larger", payload.Number, "9223372036854775808", "9223372036854775808",
			"must be at most 9223372036854775807",
		},
		{"number, negative", payload.Number, "-1", "-1", "must be digits only"},
		{"number, full-width", payload.Number, "２５１", "２５１", "must be digits only"},
		{"number with a zero before it", payload.Number, "0251", "0251", "must not begin with 0"},
		{"number, empty", payload.Number, " ", "", ""},
		{"code", payload.Code, "Rf24sG", "Rf24sG", ""},
		{"code, pasted", payload.Code, " 004217\r\n", "004217", ""},
		{"code in groups", payload.Code, "004 217", "004 217", codeRule},
		{"code, full-width", payload.Code, "００４２１７", "００４２１７", codeRule},
		{"code over two lines", payload.Code, "004\n217", "004\n217", codeRule},
		{"line", payload.Line, " Ana Silva ", "Ana Silva", ""},
		{"line with a joiner", payload.Line, "علی\u200cرضا", "علی\u200cرضا", ""},
		{"line with a no-break space", payload.Line, "Ana\u00a0Silva", "Ana\u00a0Silva", lineRule},
		{"line with a line end", payload.Line, "Ana\nSilva", "Ana\nSilva", lineRule},
		{"line with a zero-width space", payload.Line, "Ana\u200bSilva", "Ana\u200bSilva", lineRule},
		{"lines", payload.Lines, "Calle 1\r\n\tMadrid\n", "Calle 1\r\n\tMadrid", ""},
		{"lines with a control character", payload.Lines, "a\x1bb", "a\x1bb", linesRule},
		{"free", payload.Free, " \x00 ", " \x00 ", ""},
		{"no kind", "", " \x00 ", " \x00 ", ""},
		{"misspelt kind", "idd", "x", "x", `has an unknown kind of text, "idd"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			clean, rule := payload.CleanText(tc.kind, tc.text)
			if clean != tc.clean || rule != tc.rule {
				t.Errorf("got %q, %q; want %q, %q", clean, rule, tc.clean, tc.rule)
			}
		})
	}
}

// texts has a text in every place where a payload can have one.
type texts struct {
	base
	Plain  string         `json:"plain" validate:"required" text:"id"`
	Maybe  *string        `json:"maybe,omitempty" text:"id"`
	List   []string       `json:"list,omitempty" text:"id"`
	Table  [][]string     `json:"table,omitempty" text:"lines"`
	Inner  []textInner    `json:"inner,omitempty"`
	Open   map[string]any `json:"open,omitempty" text:"line"`
	Free   map[string]any `json:"free,omitempty" text:"free"`
	Number int            `json:"number,omitempty"`
}

type textInner struct {
	Text string `json:"text" text:"code"`
}

func TestDecodeCleansEveryText(t *testing.T) {
	t.Parallel()
	var got texts
	err := payload.Decode([]byte(`{"plain":" a ","maybe":"b\n","list":[" c"],"table":[["d "]],
		"inner":[{"text":"\u00a0e"}],"open":{"f":" g ","n":1.50,"no":null},"free":{"h":" i "}}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Plain != "a" || *got.Maybe != "b" || got.List[0] != "c" || got.Table[0][0] != "d" ||
		got.Inner[0].Text != "e" || got.Open["f"] != "g" || got.Free["h"] != " i " || len(got.Open) != 3 {
		t.Errorf("got %+v", got)
	}
	err = payload.Decode([]byte(`{"plain":" ","maybe":"b b","list":["c","c c"],"table":[["d\u0000"]],
		"inner":[{"text":"e e"}],"open":{"f ":"g","h":"i\nj"}}`), &got)
	want := []string{
		"inner[0].text must have only the letters A to Z and digits, without blanks",
		"list[1] must not contain blanks, control or invisible characters",
		"maybe must not contain blanks, control or invisible characters",
		"open.f  has a name with blanks, control or invisible characters",
		"open.h must be one line, without control or invisible characters",
		"plain must not be empty",
		"table[0][0] must not contain control characters",
	}
	if err == nil || err.Error() != strings.Join(want, "; ") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "; "))
	}
}

// A caller's payload is its own: Check must not change it through what it shares.
func TestCheckLeavesTheCallersPayloadAlone(t *testing.T) {
	t.Parallel()
	maybe := " b "
	given := texts{
		Plain: " a ",
		Maybe: &maybe,
		List:  []string{" c "},
		Table: [][]string{{" d "}},
		Inner: []textInner{{" e "}},
		Open:  map[string]any{"f": " g "},
	}
	clean, problems := payload.Check(given)
	if len(problems) > 0 || clean.Plain != "a" || *clean.Maybe != "b" || clean.List[0] != "c" ||
		clean.Table[0][0] != "d" || clean.Inner[0].Text != "e" || clean.Open["f"] != "g" {
		t.Errorf("got %+v, %v", clean, problems)
	}
	if given.Plain != " a " || maybe != " b " || given.List[0] != " c " || given.Table[0][0] != " d " ||
		given.Inner[0].Text != " e " || given.Open["f"] != " g " {
		t.Errorf("the caller's payload became %+v", given)
	}
}

func FuzzCleanText(f *testing.F) {
	for _, seed := range []string{"u-1", " 004217\r\n", "\ufeffu\u00a01", "２５１", "\xff", "u\x001", "\u200b"} {
		f.Add("id", seed)
		f.Add("code", seed)
		f.Add("number", seed)
		f.Add("line", seed)
		f.Add("lines", seed)
	}
	f.Fuzz(func(t *testing.T, kind, text string) {
		kinds := []string{"id", "code", "number", "line", "lines"}
		clean, rule := payload.CleanText(payload.TextKind(kind), text)
		if !slices.Contains(kinds, kind) || rule != "" {
			return
		}
		if again, _ := payload.CleanText(payload.TextKind(kind), clean); again != clean {
			t.Errorf("%q becomes %q, and then %q", text, clean, again)
		}
		if strings.TrimSpace(clean) != clean || strings.ContainsRune(clean, 0) {
			t.Errorf("%q becomes %q", text, clean)
		}
		blank := strings.ContainsFunc(clean, unicode.IsSpace)
		if blank && kind != "line" && kind != "lines" {
			t.Errorf("%q is accepted as %s", text, kind)
		}
	})
}
