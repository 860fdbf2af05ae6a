package clients

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"

	"errand.internal/internal/strictjson"
)

// Text is a code or an id that a vendor sends sometimes as a JSON string, sometimes
// as a number. It decodes from both and keeps the digits unchanged. null and a
// missing field decode to "".
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(raw []byte) error {
	switch c := raw[0]; {
	case c == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		*t = Text(s)
	case c == '-' || (c >= '0' && c <= '9'):
		*t = Text(raw)
	case c == 'n':
		*t = ""
	default:
		return &json.UnmarshalTypeError{
			Value: "neither text nor number",
			Type:  reflect.TypeFor[Text](),
		}
	}
	return nil
}

// String returns the text.
func (t Text) String() string {
	return string(t)
}

// Code returns t if it looks like a vendor's code, else "". A long text, or one with
// other characters, is prose, and prose may name a person.
func (t Text) Code() string {
	if len(t) > 8 {
		return ""
	}
	for _, c := range []byte(t) {
		switch {
		case c >= '0' && c <= '9',
			c >= 'A' && c <= 'Z',
			c >= 'a' && c <= 'z',
			c == '-',
			c == '_',
			c == '.':
		default:
			return ""
		}
	}
	return string(t)
}

// ErrEmptyBody is JSONBody's error for an answer without content, which some
// calls allow.
var ErrEmptyBody = errors.New("it is empty")

// TrimBOM strips a leading byte order mark, which some .NET servers send, and
// the white space around the rest.
func TrimBOM(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
}

// JSONBody returns the body of an answer that must be exactly one JSON value
// other than null, whatever its Content-Type says: vendors mislabel. The error
// says what is wrong with it and quotes nothing of it.
func JSONBody(a *Answer) (json.RawMessage, error) {
	body := TrimBOM(a.Body)
	switch {
	case a.Incomplete:
		return nil, errors.New("it was cut off or is too large")
	case len(body) == 0:
		return nil, ErrEmptyBody
	case body[0] == '<':
		return nil, errors.New("it is a web page")
	case bytes.Equal(body, []byte("null")):
		return nil, errors.New("it is null")
	case !a.isJSON(body):
		return nil, errors.New("it is not JSON")
	}
	return body, nil
}

// isJSON reports whether the trimmed body of an answer is JSON. Whoever interprets an
// answer asks several times.
func (a *Answer) isJSON(body []byte) bool {
	if !a.scanned {
		a.scanned, a.valid = true, json.Valid(body)
	}
	return a.valid
}

// DecodeObject decodes a body that must be exactly one JSON object; see
// JSONBody. Unknown fields are allowed. The error quotes nothing of the body.
func DecodeObject(a *Answer, into any) error {
	body, err := JSONBody(a)
	if err != nil {
		return err
	}
	if body[0] != '{' {
		return errors.New("it is not a JSON object")
	}
	return DecodeMembers(body, into)
}

// DecodeMembers decodes a part of an answer, valid JSON, into a struct. A member that
// the struct has may be spelled in any case, but must not be given twice, and must be
// Unicode text if it is text: encoding/json would choose the last, and repair the text.
// That is an *AmbiguousError. No error quotes the answer.
func DecodeMembers(raw json.RawMessage, into any) error {
	if err := checkMembers(raw, reflect.TypeOf(into), ""); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		// A json error quotes the body; its Field is a path of our own names.
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return errors.New("the field " + e.Field + " has an unexpected type")
		}
		return errors.New("it has an unexpected form")
	}
	return nil
}

// AmbiguousError says that an answer does not say one thing: a member that decides is
// given twice, or is no text.
type AmbiguousError struct {
	Field string // as our own structs name it
	Why   string
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	return "the field " + e.Field + " " + e.Why
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// checkMembers finds in raw what encoding/json would change while it decodes a t. Path
// consists of our own names.
func checkMembers(raw json.RawMessage, t reflect.Type, path string) error {
	raw = bytes.TrimSpace(raw)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	textual := t.Kind() == reflect.String
	switch {
	case len(raw) == 0:
		return nil
	case textual && raw[0] == '"' && !strictjson.IsText(raw):
		return &AmbiguousError{Field: path, Why: strictjson.NotText}
	case reflect.PointerTo(t).Implements(unmarshaler):
		return nil
	case t.Kind() == reflect.Struct && raw[0] == '{':
		return checkObject(raw, t, path)
	case t.Kind() == reflect.Slice && raw[0] == '[':
		for _, item := range strictjson.Items(raw) {
			if err := checkMembers(item, t.Elem(), path); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkObject(raw json.RawMessage, t reflect.Type, path string) error {
	fields := fieldsOf(t)
	seen := make([]bool, len(fields))
	for name, value := range strictjson.Members(raw) {
		// encoding/json decodes a member into the first field whose name is the same in
		// any case.
		i := slices.IndexFunc(fields, func(f answerField) bool { return strings.EqualFold(f.name, string(name)) })
		if i < 0 {
			continue
		}
		at := strings.TrimPrefix(path+"."+fields[i].name, ".")
		if seen[i] {
			return &AmbiguousError{Field: at, Why: strictjson.Twice}
		}
		seen[i] = true
		if err := checkMembers(value, fields[i].typ, at); err != nil {
			return err
		}
	}
	return nil
}

// answerField is a field of a struct into which an answer is decoded.
type answerField struct {
	name string
	typ  reflect.Type
}

var answerFields sync.Map // of []answerField by reflect.Type

// fieldsOf returns the fields of a struct. They are read once a type, because every answer
// is decoded.
func fieldsOf(t reflect.Type) []answerField {
	if known, ok := answerFields.Load(t); ok {
		return known.([]answerField)
	}
	var fields []answerField
	for f := range t.Fields() {
		if f.IsExported() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, answerField{cmp.Or(name, f.Name), f.Type})
		}
	}
	answerFields.Store(t, fields)
	return fields
}

// IsSet reports whether a raw JSON field is present and not null.
func IsSet(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null"
}
