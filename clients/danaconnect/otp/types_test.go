package otp_test

import (
	"encoding/json"
	"slices"
	"testing"

	"errand.internal/clients/danaconnect/otp"
)

func TestValuesFromJSON(t *testing.T) {
	t.Parallel()
	pair := otp.Values{{Key: "B", Value: "2"}, {Key: "A", Value: "1"}}
	for _, tt := range []struct {
		name, raw string
		want      otp.Values
		wantErr   string
	}{
		{"list", `[{"key":"B","value":"2"},{"key":"A","value":"1"}]`, pair, ""},
		{"object, in its order", ` {"B":"2","A":"1"}`, pair, ""},
		{"empty list", `[]`, otp.Values{}, ""},
		{"empty object", `{}`, otp.Values{}, ""},
		{"null", `null`, nil, "must be a list of {key, value} or an object"},
		{"text", `"A"`, nil, "must be a list of {key, value} or an object"},
		{"list of texts", `["A"]`, nil, "must be a list of {key, value}, both text"},
		{"member in another case", `[{"key":"A","value":"1","KEY":"B"}]`, nil, "must be a list of {key, value}, both text"},
		{"only another case", `[{"Key":"A","value":"1"}]`, nil, "has no key or no value in entry 0"},
		{"unknown member", `[{"key":"A","value":"1","x":"2"}]`, nil, "must be a list of {key, value}, both text"},
		{"number in a list", `[{"key":"A","value":1}]`, nil, "must be a list of {key, value}, both text"},
		{"no value", `[{"key":"A"}]`, nil, "has no key or no value in entry 0"},
		{"number in an object", `{"A":1}`, nil, "must hold texts; A is none"},
		{"empty key", `{"":"1"}`, nil, "has an entry without a key"},
		{"duplicate key", `{"A":"1","A":"2"}`, nil, "has the key A twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got otp.Values
			err := got.UnmarshalJSON([]byte(tt.raw))
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestResultsAsJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		result any
		want   string
	}{
		{otp.Sent{IDRequest: "251", ConversationRequestID: "h"}, `{"idRequest":"251","conversationRequestId":"h"}`},
		{otp.Sent{IDRequest: "251"}, `{"idRequest":"251"}`},
		{otp.Verified{Verdict: otp.Correct}, `{"verdict":"correct"}`},
		{otp.Verified{}, `{"verdict":""}`},
	} {
		got, err := json.Marshal(tt.result)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s, %v, want %s", got, err, tt.want)
		}
	}
}
