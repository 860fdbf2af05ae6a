package clients_test

import (
	"encoding/json"
	"testing"

	"errand.internal/clients"
)

func TestReplyKeepsOnlyWholeJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer clients.Answer
		want   string
	}{
		{"object", clients.Answer{Status: 200, Body: []byte("\xef\xbb\xbf {\"a\":1}\n")}, `{"status":200,"body":{"a":1}}`},
		{"null", clients.Answer{Status: 200, Body: []byte("null")}, `{"status":200,"body":null}`},
		{"empty", clients.Answer{Status: 204}, `{"status":204}`},
		{"web page", clients.Answer{Status: 502, Body: []byte("<html>")}, `{"status":502}`},
		{"incomplete", clients.Answer{Status: 200, Body: []byte("{}"), Incomplete: true}, `{"status":200}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(tt.answer.Reply())
			if err != nil || string(got) != tt.want {
				t.Errorf("reply %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}
