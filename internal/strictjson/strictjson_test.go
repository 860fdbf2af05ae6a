package strictjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
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

// A document has the faults that a reader of its tokens finds, in their order.
func FuzzFaultsAreThoseOfTheTokens(f *testing.F) {
	f.Add(` {"a" : 1 , "a":[ {"b":"\ud800"},[],{} , "\\\"", -1.5e3,null], "":{"":1,"":2}} `)
	f.Add(`{"\udfff":{"x":1,"x":2},"\ufffd":1,"\u0061":1,"a":true}`)
	f.Add(`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"r":1,"q":1,"a":1}`)
	f.Add("[\"\xff\",{\"\xff\":1}]")
	f.Add(`{"a":`)
	f.Fuzz(func(t *testing.T, raw string) {
		got := strictjson.Faults([]byte(raw)) // whatever it is, without a panic
		members := membersOf([]byte(raw))
		if !json.Valid([]byte(raw)) {
			return
		}
		o := oracle{raw: []byte(raw), dec: json.NewDecoder(strings.NewReader(raw))}
		o.value("")
		if !slices.Equal(got, o.faults) {
			t.Errorf("%q: %+v, want %+v", raw, got, o.faults)
		}
		if want := o.members(); !slices.Equal(members, want) {
			t.Errorf("%q has the members %q, want %q", raw, members, want)
		}
	})
}

// oracle finds faults by the tokens of encoding/json.
type oracle struct {
	raw    []byte
	dec    *json.Decoder
	faults []strictjson.Fault
}

func (o *oracle) token() (token json.Token, ok bool) {
	start := o.dec.InputOffset()
	token, err := o.dec.Token()
	if _, isText := token.(string); err != nil || !isText {
		return token, true
	}
	return token, strictjson.IsText(bytes.TrimLeft(o.raw[start:o.dec.InputOffset()], ",: \t\r\n"))
}

func (o *oracle) value(path string) {
	token, ok := o.token()
	switch {
	case !ok:
		o.faults = append(o.faults, strictjson.Fault{Path: path, Rule: strictjson.NotText})
	case token == json.Delim('['):
		for i := 0; o.dec.More(); i++ {
			o.value(fmt.Sprintf("%s[%d]", path, i))
		}
		_, _ = o.dec.Token()
	case token == json.Delim('{'):
		seen := map[string]bool{}
		for o.dec.More() {
			token, ok := o.token()
			name, _ := token.(string)
			at := path
			switch {
			case !ok:
				o.faults = append(o.faults, strictjson.Fault{Path: path, Rule: strictjson.NotAName})
			default:
				if at += "." + name; path == "" {
					at = name
				}
				if seen[name] {
					o.faults = append(o.faults, strictjson.Fault{Path: at, Rule: strictjson.Twice})
				}
			}
			seen[name] = true
			o.value(at)
		}
		_, _ = o.dec.Token()
	}
}

// member is a member of an object.
type member struct{ name, value string }

// membersOf are the members of a document.
func membersOf(raw []byte) (members []member) {
	for name, value := range strictjson.Members(raw) {
		members = append(members, member{string(name), string(value)})
	}
	return members
}

// members are the members of the document by the tokens of encoding/json.
func (o *oracle) members() (members []member) {
	dec := json.NewDecoder(bytes.NewReader(o.raw))
	if token, _ := dec.Token(); token != json.Delim('{') {
		return nil
	}
	for dec.More() {
		var value json.RawMessage
		token, _ := dec.Token()
		if dec.Decode(&value) != nil {
			return members
		}
		members = append(members, member{token.(string), string(value)})
	}
	return members
}

// What a document says is what encoding/json reads.
func FuzzValueIsThatOfTheDecoder(f *testing.F) {
	f.Add(` {"a" : 1 , "a":[ {"b":"\ud800"},[],{} , "\\\"", -1.5e3,null], "":{"":true,"":false}} `)
	f.Add("[\"\xff\",{\"\xff\":1e400}]")
	f.Add(`"\u0041"`)
	f.Fuzz(func(t *testing.T, raw string) {
		if !json.Valid([]byte(raw)) {
			return
		}
		dec := json.NewDecoder(strings.NewReader(raw))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := strictjson.Value([]byte(raw)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q says %#v, want %#v", raw, got, want)
		}
		if text, ok := want.(string); ok && strictjson.Text(bytes.TrimSpace([]byte(raw))) != text {
			t.Errorf("%q says %q, want %q", raw, strictjson.Text([]byte(raw)), text)
		}
	})
}

// count counts the members and items of a document.
func count(raw json.RawMessage) int {
	n := 1
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) > 0 && raw[0] == '{':
		for _, value := range strictjson.Members(raw) {
			n += count(value)
		}
	case len(raw) > 0 && raw[0] == '[':
		for _, item := range strictjson.Items(raw) {
			n += count(item)
		}
	}
	return n
}
