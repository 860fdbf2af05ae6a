package danaconnect

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Value is one field of a contact list.
type Value = otp.Value

// Values are fields of a contact list. In JSON they may be given as the
// vendor's list of {key, value} or as an object.
type Values = otp.Values
