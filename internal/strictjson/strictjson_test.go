package strictjson_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"errand.internal/internal/strictjson"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, raw string
		want      []strictjson.Fault
	}{
		{name: "none", raw: ` {"a":{"b":[1,"x",null,{"b":1}]},"c":"a","A":1} `},
		{name: "scalar", raw: `7`},
		{name: "escapes", raw: `"\\ud800 \"\ud83d\ude00\ufffd é"`},
		{name: "member", raw: `{"a":1,"a":1}`, want: []strictjson.Fault{{Path: "a", Rule: strictjson.Twice}}},
		{name: "escaped name", raw: `{"a":1, "\u0061":2}`, want: []strictjson.Fault{{Path: "a", Rule: strictjson.Twice}}},
		{name: "deep", raw: `[{"a":[{},{"b":1,"b":{}}]}]`, want: []strictjson.Fault{{Path: "[0].a[1].b", Rule: strictjson.Twice}}},
		{
			name: "several",
			raw:  `{"a":{"x":1,"x":2},"b":"\ud800"}`,
			want: []strictjson.Fault{{Path: "a.x", Rule: strictjson.Twice}, {Path: "b", Rule: strictjson.NotText}},
		},
		{name: "no UTF-8", raw: "{\"a\":[\"\xff\"]}", want: []strictjson.Fault{{Path: "a[0]", Rule: strictjson.NotText}}},
		{name: "low half", raw: `{"a":"\udc00"}`, want: []strictjson.Fault{{Path: "a", Rule: strictjson.NotText}}},
		{name: "two high halves", raw: `{"a":"\ud800\ud800"}`, want: []strictjson.Fault{{Path: "a", Rule: strictjson.NotText}}},
		{name: "name", raw: `{"a":{"\udfff":1}}`, want: []strictjson.Fault{{Path: "a", Rule: strictjson.NotAName}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !json.Valid([]byte(tt.raw)) {
				t.Fatal("the case is no JSON")
			}
			if got := strictjson.Faults([]byte(tt.raw)); !slices.Equal(got, tt.want) {
				t.Errorf("%s: %+v, want %+v", tt.raw, got, tt.want)
			}
		})
	}
}

func TestEncodedFaults(t *testing.T) {
	t.Parallel()
	for value, faulty := range map[string]bool{
		"text":         false,
		"\ufffd":       false, // the character itself
		`\ufffd`:       false, // its escape as text
		"a\xff":        true,
		"\xed\xa0\x80": true, // half of a surrogate pair
	} {
		for _, doc := range []any{map[string]any{"a": value}, map[string]any{value: "a"}} {
			raw, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if faults := strictjson.EncodedFaults(raw); (len(faults) == 1) != faulty {
				t.Errorf("%q was encoded as %s: %+v", value, raw, faults)
			}
		}
	}
}

// What has no fault comes through encoding/json unchanged.
func FuzzFaults(f *testing.F) {
	f.Add(`{"a":1,"a":2}`)
	f.Add(`{"a":"\ud83d\ude00","b":[{"c":"\ud800"}]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		if !json.Valid([]byte(raw)) || len(strictjson.Faults([]byte(raw))) > 0 {
			return
		}
		var v any
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			return // a number that float64 cannot hold
		}
		again, err := json.Marshal(v)
		if err != nil || len(strictjson.Faults(again)) > 0 || count([]byte(raw)) != count(again) {
			t.Errorf("%q became %q, %v", raw, again, err)
		}
	})
}

// count counts the members and items of a document.
func count(raw json.RawMessage) int {
	n := 1
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) > 0 && raw[0] == '{':
		for _, m := range strictjson.Members(raw) {
			n += count(m.Value)
		}
	case len(raw) > 0 && raw[0] == '[':
		for _, item := range strictjson.Items(raw) {
			n += count(item)
		}
	}
	return n
}
