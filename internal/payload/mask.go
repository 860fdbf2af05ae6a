package payload

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Masked stands wherever a value is not for human eyes.
const Masked = "***"

// Mask renders a JSON text with every value hidden, except those that p's type
// marks clear. It serves payloads and the vendor requests made of them alike,
// because both use the vendor's names. p may be nil: then everything is hidden.
func Mask(p any, raw []byte) string {
	clear := map[string]bool{}
	if p != nil {
		clearPaths("", reflect.TypeOf(p), clear)
	}
	var doc any
	if err := decodeInto(raw, reflect.ValueOf(&doc).Elem()); err != nil {
		return Masked
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(mask("", doc, clear)); err != nil {
		return Masked
	}
	return string(bytes.TrimSpace(out.Bytes()))
}

func mask(path string, v any, clear map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = mask(join(path, name), inner, clear)
		}
		return v
	case []any:
		for i, inner := range v {
			v[i] = mask(path+"[]", inner, clear)
		}
		return v
	case nil:
		return nil
	}
	if clear[path] {
		return v
	}
	return Masked
}

func clearPaths(path string, t reflect.Type, into map[string]bool) {
	switch t = deref(t); t.Kind() {
	case reflect.Slice:
		clearPaths(path+"[]", t.Elem(), into)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.Anonymous {
				clearPaths(path, f.Type, into)
				continue
			}
			name := jsonName(f)
			if name == "" {
				continue
			}
			at := join(path, name)
			if f.Tag.Get("clear") == "true" {
				into[at], into[at+"[]"] = true, true
			}
			clearPaths(at, f.Type, into)
		}
	}
}
