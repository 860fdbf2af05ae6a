package clients

import (
	"bytes"
	"encoding/json"
)

// EncodeJSON encodes v without escaping <, > and &, so that "Tom & Co" is sent
// as the vendors' own samples send it. json.Marshal would write "Tom \u0026 Co".
// The text of its error may quote v, so it must not be shown.
func EncodeJSON(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
