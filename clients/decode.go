package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
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
	case !json.Valid(body):
		return nil, errors.New("it is not JSON")
	}
	return body, nil
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
	if err := json.Unmarshal(body, into); err != nil {
		// A json error quotes the body; its Field is a path of our own names.
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return errors.New("the field " + e.Field + " has an unexpected type")
		}
		return errors.New("it has an unexpected form")
	}
	return nil
}

// IsSet reports whether a raw JSON field is present and not null.
func IsSet(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null"
}
