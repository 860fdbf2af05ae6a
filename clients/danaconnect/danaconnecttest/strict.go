package danaconnecttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// decodeStrict decodes one JSON object that has only these fields, in this
// spelling: encoding/json alone would accept "idrequest" for "idRequest".
func decodeStrict(body []byte, into any, fields ...string) error {
	var names map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&names); err != nil {
		return fmt.Errorf("decode object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	if names == nil {
		return errors.New("null")
	}
	for name := range names {
		if !slices.Contains(fields, name) {
			return errors.New("unknown field " + name)
		}
	}
	dec = json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields() // in the nested objects
	return dec.Decode(into)
}
