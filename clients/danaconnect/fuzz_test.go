package danaconnect_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"errand.internal/clients"
)

// FuzzAnswers gives every operation that the answer table covers any answer. No
// operation may panic, fail with anything but the promised error, leak a secret,
// or succeed on an answer that does not say so.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"wsResult":{"idResult":0}}`,
		`{"wsResult":{"idResult":"7"}}`,
		`{"wsError":{"errorDescription":"x"}}`,
		`{"status":true}`,
		`{"status":false}`,
		"",
		"null",
		"[]",
		"<html>",
		"\xef\xbb\xbf{}",
		`{"wsResult":`,
	} {
		for _, status := range []int{0, 4, 102, 200, 201, 300, 303} { // added to 200
			f.Add(status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%800+800)%800                                      // any final status
		plain := bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))) // blanks do not matter
		for _, o := range []operation{startOp, callOp, loadOp} {
			answer, err := o.answered(t, status, string(body))
			if answer.Body != nil && !json.Valid(answer.Body) {
				t.Errorf("%s: the answer keeps a body that is not JSON", o.name)
			}
			if err == nil {
				if status > 299 || (len(plain) > 0 && !json.Valid(plain)) {
					t.Errorf("%s succeeded", o.name)
				}
				continue
			}
			if e, ok := clients.AsError(err); !ok || e.NotSent || e.Op != o.name {
				t.Errorf("%s: %#v", o.name, err)
			}
		}
	})
}
