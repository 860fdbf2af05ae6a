package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
)

// Text is a code or an id that a vendor writes now as a JSON string, now as a
// number: it decodes from both and keeps the digits as they came. null and an
// absent field are "".
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

// Code returns t if it can pass for a vendor's code, else "": what is long or
// has signs in it is prose, and prose may name a person.
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

// DecodeObject reads a body that must be exactly one JSON object, whatever its
// Content-Type says (vendors mislabel). Unknown fields are allowed. The error
// says why in our own words and quotes nothing of the body.
func DecodeObject(a *Answer, into any) error {
	if a.Incomplete {
		return errors.New("it broke off or is too large")
	}
	body := bytes.TrimSpace(
		bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf")),
	) // some .NET servers send a byte order mark
	switch {
	case len(body) == 0:
		return errors.New("it is empty")
	case body[0] == '<':
		return errors.New("it is a web page")
	case bytes.Equal(body, []byte("null")):
		return errors.New("it is null")
	case !json.Valid(body):
		return errors.New("it is not JSON")
	case body[0] != '{':
		return errors.New("it is not a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		// The text of a json error holds parts of the body; the path of the field
		// is made of our own names.
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return errors.New("the field " + e.Field + " has another type than promised")
		}
		return errors.New("it has another form than promised")
	}
	return nil
}

// Stated reports whether a raw JSON field is there and not null.
func Stated(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null"
}
