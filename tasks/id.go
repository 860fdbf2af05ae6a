package tasks

import (
	"errors"

	"errand.internal/internal/strictjson"
)

// ID is a number of the vendor's, kept as text, exactly as it was written. JSON may
// contain it as a number or as text.
type ID string

// UnmarshalJSON implements json.Unmarshaler.
func (id *ID) UnmarshalJSON(raw []byte) error {
	switch c := raw[0]; {
	case c == '"':
		*id = ID(strictjson.Text(raw))
	case c == '-' || '0' <= c && c <= '9':
		*id = ID(raw)
	default:
		return errors.New("must be a number or text")
	}
	return nil
}

// KindName names the type in descriptions.
func (ID) KindName() string {
	return "number or text"
}
