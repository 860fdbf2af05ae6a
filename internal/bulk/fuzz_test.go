package bulk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"errand.internal/tasks/all"
)

const pipeCall = "dckap:dynamic:call"

// FuzzRows reads files row by row. Whatever a file holds, reading ends, every row is
// either refused or has a payload that is JSON, and its type exists.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{
		"userId\nu-1\n",
		"\ufeffsep=;\r\nuserId\r\n\"u\r\n1\"\r\n;\r\n",
		"userId\ru-1\r",
		"userId,userId\n",
		`{"type":"anna:user:inactivate","payload":{"userId":"u-1"},"key":"k"}`,
		"{\n\"payload\":{}}",
		"[{}]",
		"PK\x03\x04",
		"\"userId\n",
	} {
		f.Add("rows.csv", seed)
		f.Add("rows.jsonl", seed)
		f.Add("-", seed)
	}
	f.Fuzz(func(t *testing.T, name, file string) {
		reader, err := newRowReader(name, strings.NewReader(file), "anna:user:inactivate", "")
		for n := 0; err == nil; n++ {
			var r row
			if r, err = reader.next(); err != nil || r.err != nil || reader.decode(&r) != nil {
				continue
			}
			if _, known := all.Vendors.Find(r.taskType); !known || !json.Valid(r.payload) || r.number > n+1 {
				t.Errorf("row %d: %+v", n, r)
			}
		}
		if _, refused := errors.AsType[*FileError](err); !refused && !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	})
}

// FuzzCSVRow reads one row under any header. A cell of text is never another type.
func FuzzCSVRow(f *testing.F) {
	for _, seed := range [][2]string{
		{"body.a", "null"},
		{"body.Lines[0].Quantity:number", "1.50"},
		{"body.Vip:bool", "TRUE"},
		{"body.Tags:json", `"[1,""a""]"`},
		{"body.a[99999999999]", "x"},
		{"idempotent", "false"},
		{"query.a:text", "007"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, header, cell string) {
		file := "listener," + header + "\nu1," + cell + "\n"
		reader, err := newRowReader("-", strings.NewReader(file), pipeCall, "")
		if err != nil {
			return
		}
		r, err := reader.next()
		if err != nil || r.err != nil || reader.decode(&r) != nil {
			return
		}
		if !json.Valid(r.payload) {
			t.Errorf("%q: the payload is %q", file, r.payload)
		}
		name, free := strings.CutPrefix(header, "body.")
		if free && !strings.ContainsAny(header, ":[].\", ;\t|\r\n") && bytes.Contains(r.payload, []byte(`"`+name+`":n`)) {
			t.Errorf("%q: a text became %s", file, r.payload)
		}
	})
}
