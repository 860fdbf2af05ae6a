package all_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// FuzzPayload decodes any payload of every type. A refusal names what is wrong. What is
// accepted is the same when it is encoded and decoded once more, and a free body has
// every member and every number as it was written.
func FuzzPayload(f *testing.F) {
	types := all.Vendors.Types()
	for i, info := range types {
		raw, err := json.Marshal(info.Example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, raw)
		for _, broken := range []string{`{}`, `{"userId":1,"userId":"2"}`, `{"body":{"a":1.50,"b":[1e400,null]},"listener":"l","x":1}`, `null`, "{\"\xff\":1}"} {
			f.Add(i, []byte(broken))
		}
	}
	f.Add(0, []byte(`{"idConversation":1,"values":{"COD1_EMAIL":"a@b.example"},"type":1,"length":6}`))
	f.Add(0, []byte(`{"idConversation":1e0,"values":[{"key":"k","value":"v"},{"key":"k","value":"w"}],"type":1,"length":6.0}`))
	f.Fuzz(func(t *testing.T, n int, raw []byte) {
		info := types[(n%len(types)+len(types))%len(types)]
		p, err := info.Decode(raw)
		if err != nil {
			wrong, ok := errors.AsType[*tasks.PayloadError](err)
			if !ok || len(wrong.Problems) == 0 {
				t.Errorf("%s %q: %#v", info.Type, raw, err)
				return
			}
			for _, problem := range wrong.Problems {
				if problem.Rule == "" {
					t.Errorf("%s %q: %+v", info.Type, raw, wrong.Problems)
				}
			}
			return
		}
		encoded, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%s %q cannot be encoded: %v", info.Type, raw, err)
		}
		if problems := payload.UnfaithfulEncoding(encoded); len(problems) > 0 { // what broker.Job.Decoded relies on
			t.Errorf("%s %q is encoded as %s: %+v", info.Type, raw, encoded, problems)
		}
		again, err := info.Decode(encoded)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%s %q\nis read as %s,\nand that as %+v, %v; it was %+v", info.Type, raw, encoded, again, err, p)
		}
		for _, free := range []string{"body", "query", "data"} {
			before, after := member(t, raw, free), member(t, encoded, free)
			if !reflect.DeepEqual(before, after) {
				t.Errorf("%s: %s was %v, and is %v", info.Type, free, before, after)
			}
		}
	})
}

// member is a member of an object, with numbers as they are written; nil if it has none.
func member(t *testing.T, raw []byte, name string) any {
	t.Helper()
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc[name]
}
