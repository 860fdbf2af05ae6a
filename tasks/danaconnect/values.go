package danaconnect

import "errand.internal/clients/danaconnect/otp"

// Value is one field of a contact list.
type Value = otp.Value

// Values are fields of a contact list. In JSON they may be the vendor's list of
// {key, value}, or an object.
type Values = otp.Values
