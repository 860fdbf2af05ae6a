package payload

import (
	"bytes"
	"encoding/json"
	"reflect"

	"errand.internal/internal/strictjson"
)

// Masked replaces every value that must not be shown.
const Masked = "***"

// Mask renders a JSON text with every value hidden except those that p's type
// marks clear. It works for payloads and for the vendor requests built from them,
// because both use the vendor's names. If p is nil, everything is hidden.
func Mask(p any, raw []byte) string {
	shown := map[string]bool{}
	if p != nil {
		clearPaths("", reflect.TypeOf(p), shown)
	}
	if !json.Valid(raw) {
		return Masked
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(mask("", strictjson.Value(raw), shown)); err != nil {
		return Masked
	}
	return string(bytes.TrimSpace(out.Bytes()))
}

func mask(path string, v any, shown map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = mask(join(path, name), inner, shown)
		}
		return v
	case []any:
		for i, inner := range v {
			v[i] = mask(path+"[]", inner, shown)
		}
		return v
	case nil:
		return nil
	}
	if shown[path] {
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
				into[at] = true
				into[at+"[]"] = true
			}
			clearPaths(at, f.Type, into)
		}
	}
}
