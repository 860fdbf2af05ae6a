package tasks

import (
	"encoding/json"
	"errors"
)

// ID is a number of the vendor's, kept as text, exactly as it was written. JSON may
// contain it as a number or as text.
type ID string

// UnmarshalJSON implements json.Unmarshaler.
func (id *ID) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
		*id = ID(text)
		return nil
	}
	var number json.Number
	if raw[0] == '"' || json.Unmarshal(raw, &number) != nil || number == "" {
		return errors.New("must be a number or text")
	}
	*id = ID(number)
	return nil
}

// KindName names the type in descriptions.
func (ID) KindName() string {
	return "number or text"
}
