package payload_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"errand.internal/internal/payload"
)

type inner struct {
	Status string `json:"status,omitempty" validate:"omitempty,oneof=A E" clear:"true" doc:"open or not"`
}

type base struct {
	UserID string `json:"userId,omitempty" validate:"max=5"`
}

type sample struct {
	base
	Count   int64           `json:"count" validate:"required,min=1" clear:"true" doc:"how many"`
	Name    string          `json:"name" validate:"required"`
	Seconds *int            `json:"seconds,omitempty" validate:"omitnil,min=1,max=3200" clear:"true"`
	List    []string        `json:"list,omitempty" validate:"max=2,dive,required"`
	Free    any             `json:"free,omitempty"`
	Raw     json.RawMessage `json:"raw,omitempty"`
	Flag    bool            `json:"flag,omitempty"`
	Inner   inner           `json:"inner,omitzero"`
}

func (s sample) Check() []payload.Problem {
	if s.Name == "both" && s.UserID != "" {
		return []payload.Problem{{Field: "userId", Rule: "must not be given with that name"}}
	}
	return nil
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, raw, want string }{
		{"every field", `{"count":1,"name":"n","seconds":5,"list":["a"],"free":{"deep":[1]},"raw":{"x":1},"flag":true,"inner":{"status":"A"},"userId":"u"}`, ""},
		{"required fields only", `{"count":1,"name":"n"}`, ""},
		{"empty", ``, "the payload is not JSON: it is empty"},
		{"broken", `{"count":1,`, "the payload is not JSON: it ends early or has a syntax error at byte 11"},
		{"trailing", `{"count":1,"name":"n"} x`, "the payload is not JSON: it ends early or has a syntax error at byte 24"},
		{"list", `[1]`, "the payload must be an object"},
		{"null", `null`, "the payload must be an object"},
		{"everything missing", `{}`, "count is required; name is required"},
		{"empty text", `{"count":1,"name":""}`, "name must not be empty"},
		{"zero", `{"count":0,"name":"n"}`, "count must not be 0"},
		{"unknown field", `{"count":1,"name":"n","nam":"x"}`, "nam is unknown"},
		{"wrong case", `{"count":1,"name":"n","USERID":"x"}`, "USERID is unknown; did you mean userId?"},
		{"given twice", `{"count":1,"count":2,"name":"n"}`, "count is given twice"},
		{"given twice in a free body", `{"count":1,"name":"n","free":{"a":[{"b":1,"c":2,"b":3}]}}`, "free.a[0].b is given twice"},
		{"given twice in raw JSON", `{"count":1,"name":"n","raw":{"x":1,"\u0078":2}}`, "raw.x is given twice"},
		{"given twice below", `{"count":1,"name":"n","inner":{"status":"A","status":"E"}}`, "inner.status is given twice"},
		{"unknown and given twice", `{"count":1,"name":"n","nam":1,"nam":2}`, "nam is given twice; nam is unknown"},
		{"no UTF-8", "{\"count\":1,\"name\":\"n\xff\"}", "name is not valid Unicode text"},
		{"half a surrogate pair", `{"count":1,"name":"n","free":["\ud83d"]}`, "free[0] is not valid Unicode text"},
		{"broken name", `{"count":1,"name":"n","free":{"\ud83d":1}}`, "free has a member whose name is not valid Unicode text"},
		{
			"all at once", `{"count":"1","name":7,"seconds":4000,"other":1,"inner":{"status":"X","no":1},"list":["a","b","c"]}`,
			"count must be an integer; inner.no is unknown; inner.status must be one of A, E; list must have at most 2 entries; name must be text; other is unknown; seconds must be at most 3200",
		},
		{"fraction", `{"count":1.5,"name":"n"}`, "count must be an integer"},
		{"null number", `{"count":null,"name":"n"}`, "count must be an integer"},
		{"null pointer", `{"count":1,"name":"n","seconds":null}`, "seconds must not be null; leave it out"},
		{"explicit zero", `{"count":1,"name":"n","seconds":0}`, "seconds must be at least 1"},
		{"entry of a list", `{"count":1,"name":"n","list":[1,""]}`, "list[0] must be text; list[1] must not be empty"},
		{"embedded", `{"count":1,"name":"n","userId":"toolong"}`, "userId must have at most 5 characters"},
		{"across fields", `{"count":1,"name":"both","userId":"u"}`, "userId must not be given with that name"},
		{"too large", `{"name":"` + strings.Repeat("x", payload.MaxSize) + `"}`, "the payload has 524299 bytes, at most 524288 are allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var s sample
			err := payload.Decode([]byte(tc.raw), &s)
			if got := text(err); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if _, typed := errors.AsType[*payload.Error](err); err != nil && !typed {
				t.Errorf("%T is not a *payload.Error", err)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNumbersInFreeFieldsKeepTheirForm(t *testing.T) {
	t.Parallel()
	var s sample
	if err := payload.Decode([]byte(`{"count":9007199254740993,"name":"n","free":{"n":9007199254740993.10}}`), &s); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), `{"n":9007199254740993.10}`) || s.Count != 9007199254740993 {
		t.Errorf("encoded as %s", out)
	}
}

// The tags of a free body's type are not ours: they may be those of another library.
func TestTheTypeOfAFreeBodyHasNoRules(t *testing.T) {
	t.Parallel()
	type customer struct {
		Mail string `json:"mail" validate:"email"`
		Name string `json:"name" validate:"required"`
	}
	for _, body := range []any{customer{}, &customer{}, []any{customer{}}} {
		if _, problems := payload.Check(sample{Count: 1, Name: "n", Free: body}); len(problems) > 0 {
			t.Errorf("%T: %v", body, problems)
		}
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	got := payload.Mask(
		sample{},
		[]byte(
			`{"count":3,"name":"canary","free":{"k":["canary",1,null]},"inner":{"status":"A"},"userId":"canary","new":"canary"}`,
		),
	)
	want := `{"count":3,"free":{"k":["***","***",null]},"inner":{"status":"A"},"name":"***","new":"***","userId":"***"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, raw := range []string{`not json`, ``, `"text"`} {
		if got := payload.Mask(nil, []byte(raw)); strings.Contains(got, "text") || strings.Contains(got, "not") {
			t.Errorf("Mask(%q) = %s", raw, got)
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	doc := map[string]any{}
	for _, kv := range [][2]string{
		{"count", "12"},
		{"name", "004217"},
		{"userId", "7"},
		{"seconds", "5"},
		{"flag", "true"},
		{"free.deep.n:number", "1.50"},
		{"free.zip", "1050"},
		{"free.yes", "true"},
		{"free.none", "null"},
		{"free.vip:bool", "TRUE"},
		{"free.tags:json", `["a"]`},
		{"free.text", "hello world"},
		{"list", `["a"]`},
		{"inner.status", "A"},
		{"nosuch", "x"},
	} {
		if err := payload.Set(sample{}, doc, kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"count":12,"flag":true,"free":{"deep":{"n":1.50},"none":"null","tags":["a"],"text":"hello world","vip":true,"yes":"true","zip":"1050"},"inner":{"status":"A"},"list":["a"],"name":"004217","nosuch":"x","seconds":5,"userId":"7"}`
	if string(out) != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
	for _, path := range []string{"", "count.x", "a..b"} {
		if err := payload.Set(sample{}, doc, path, "1"); err == nil {
			t.Errorf("--set %q was accepted", path)
		}
	}
	for header, want := range map[string]string{
		"free.n:number": "free.n must be a number, such as 1.5",
		"free.b:bool":   "free.b must be true or false",
		"free.j:json":   "free.j must be JSON",
		"free.x:date":   "free.x:date: has an unknown type; it must be text, number, bool or json",
		"name:number":   "name:number: has another type than the field, text",
	} {
		if err := payload.Set(sample{}, map[string]any{}, header, "canary,5"); err == nil || err.Error() != want {
			t.Errorf("--set %s: %v, want %q", header, err, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	fields := payload.Describe(sample{})
	want := map[string]payload.Field{
		"userId": {Path: "userId", Kind: "text", Rules: "at most 5 characters"},
		"count": {
			Path:     "count",
			Kind:     "integer",
			Required: true,
			Rules:    "at least 1",
			Doc:      "how many",
		},
		"seconds": {Path: "seconds", Kind: "integer", Rules: "1 to 3200"},
		"inner.status": {
			Path:  "inner.status",
			Kind:  "text",
			Rules: "one of A, E",
			Doc:   "open or not",
		},
	}
	for _, f := range fields {
		if w, ok := want[f.Path]; ok && f != w {
			t.Errorf("got  %+v\nwant %+v", f, w)
		}
		delete(want, f.Path)
	}
	if len(want) > 0 {
		t.Errorf("not described: %v", want)
	}
}

// The words of a bound agree with its number, in a description and in a problem.
func TestBoundsInWords(t *testing.T) {
	t.Parallel()
	type bounds struct {
		Letter  string         `json:"letter" validate:"max=1"`
		Letters string         `json:"letters" validate:"min=1,max=2"`
		Entry   []string       `json:"entry" validate:"min=1"`
		Entries map[string]int `json:"entries" validate:"min=2"`
		Number  int            `json:"number" validate:"max=1"`
	}
	var rules []string
	for _, f := range payload.Describe(bounds{}) {
		rules = append(rules, f.Path+" "+f.Rules)
	}
	want := "letter at most 1 character; letters 1 to 2 characters; entry at least 1 entry; " +
		"entries at least 2 entries; number at most 1"
	if got := strings.Join(rules, "; "); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	want = "entries must have at least 2 entries; entry must have at least 1 entry; " +
		"letter must have at most 1 character; letters must have at least 1 character; number must be at most 1"
	err := payload.Decode([]byte(`{"letter":"ab","number":2}`), &bounds{})
	if got := text(err); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"count":1,"name":"n"}`))
	f.Add([]byte(`{"inner":{"status":[]},"list":{}}`))
	f.Add([]byte(`{"count":1,"name":"n","list":["a","b"],"seconds":3200,"userId":"u","inner":{"status":"A"}}`))
	f.Add([]byte(`{"count":9007199254740993,"name":"n","free":{"a":1.50,"A":[null]},"raw":1e400}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s sample
		if err := payload.Decode(raw, &s); err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Errorf("%q is refused without a reason", raw)
			}
			return
		}
		switch {
		case s.Count < 1, s.Name == "", s.Seconds != nil && (*s.Seconds < 1 || *s.Seconds > 3200),
			len(s.List) > 2, slices.Contains(s.List, ""), utf8.RuneCountInString(s.UserID) > 5,
			!slices.Contains([]string{"", "A", "E"}, s.Inner.Status), s.Name == "both" && s.UserID != "":
			t.Errorf("%q was accepted", raw)
		}
		written, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		var again sample
		if err := payload.Decode(written, &again); err != nil {
			t.Fatalf("%q was accepted, and %q is not: %v", raw, written, err)
		}
		if rewritten, err := json.Marshal(again); err != nil || !bytes.Equal(rewritten, written) {
			t.Errorf("%q is %q, and read once more %q, %v", raw, written, rewritten, err)
		}
	})
}
