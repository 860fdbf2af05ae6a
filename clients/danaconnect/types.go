package danaconnect

import "strings"

// IsID reports whether id is a positive integer of the vendor's size, so that it
// can be sent as a JSON integer or as part of a path.
func IsID(id string) bool {
	return id != "" && len(id) <= 19 && id[0] != '0' &&
		strings.Trim(id, "0123456789") == ""
}
