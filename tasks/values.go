package tasks

import (
	"encoding/json"
	"errors"
	"strings"

	"errand.internal/clients/danaconnect/otp"
)

// ID is a vendor's number that is kept as text. In JSON it may be given as
// either.
type ID string

// UnmarshalJSON implements json.Unmarshaler.
func (id *ID) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
		*id = ID(strings.TrimSpace(text))
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

// Value is one field of a contact list.
type Value = otp.Value

// Values are fields of a contact list. In JSON they may be given as the
// vendor's list of {key, value} or as an object.
type Values = otp.Values
