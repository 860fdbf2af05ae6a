package annatest

import (
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"

	"errand.internal/clients/sandbox"
)

// success answers with fields besides success and message.
func success(message string, fields map[string]any) sandbox.Answer {
	body := map[string]any{"success": true, "message": message}
	maps.Copy(body, fields)
	return sandbox.JSON(http.StatusOK, body)
}

func failure(status int, message string) sandbox.Answer {
	return sandbox.JSON(status, map[string]any{"success": false, "message": message})
}

// checkRequest refuses a method or content type that the vendor's page does not
// show.
func checkRequest(c *sandbox.Call) (refusal sandbox.Answer, ok bool) {
	if c.Method != http.MethodPost {
		return failure(http.StatusMethodNotAllowed, "only POST is allowed"), false
	}
	mediaType, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return failure(http.StatusUnsupportedMediaType, "only application/json is accepted"), false
	}
	return sandbox.Answer{}, true
}

// decodeStrings decodes a JSON object that must have exactly the named keys, in
// this casing, with strings as values.
func decodeStrings(raw []byte, names ...string) (map[string]string, error) {
	var decoded map[string]*string
	if err := json.Unmarshal(raw, &decoded); err != nil {
		return nil, errors.New("a JSON object of strings is expected")
	}
	out := map[string]string{}
	for _, name := range names {
		if decoded[name] == nil {
			return nil, errors.New(name + " is missing")
		}
		out[name] = *decoded[name]
	}
	for name := range decoded {
		if _, ok := out[name]; !ok {
			return nil, errors.New(name + " is unknown")
		}
	}
	return out, nil
}
