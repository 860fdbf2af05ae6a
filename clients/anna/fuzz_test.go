package anna_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/tokens"
)

// FuzzAnswers gives every operation, and the login, any answer. None may panic,
// fail with anything but the promised error, leak a secret, or succeed on an
// answer that does not say so.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"success":true,` + everything + `}`, `{"success":false,"message":"x"}`, `{"success":"true"}`, `{"success":true,"accessData":{"Hash":7}}`,
		`{"success":true,"data":{"Token":"t","ExpiresIn":"3600"}}`, `{"success":true,"data":{"Token":"a.eyJleHAiOjF9.c","ExpiresIn":{}}}`,
		"", "null", "[]", "<html>", "\xef\xbb\xbf{}", `{"success":true`, `{"alertCounter":1e400,"success":true}`,
	} {
		for _, status := range []int{0, 4, 102, 201, 300, 303} { // of 200 and more
			f.Add(status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%800+800)%800 // any final status
		caller := clients.NewCaller(
			anna.Vendor,
			clients.Timeouts{},
			clientstest.Canned{Status: status, Body: string(body)},
			nil,
		)
		cfg := config("https://anna.example/")
		c, err := anna.New(cfg, &source{replay: true}, caller)
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Success json.RawMessage `json:"success"`
		}
		succeeds := status < 300 && json.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &said) == nil &&
			string(said.Success) == "true"
		for _, o := range operations {
			err := o.run(t.Context(), c)
			if err == nil {
				if !succeeds {
					t.Errorf("%s succeeded", o.op)
				}
				continue
			}
			e, ok := clients.AsError(err)
			if !ok || e.NotSent || e.Vendor != anna.Vendor {
				t.Errorf("%s: %#v", o.op, err)
			}
			clientstest.NoLeak(t, err, canaries...)
		}
		login, err := anna.NewLogin(cfg, caller)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := login.Fetch(t.Context())
		switch err := err.(type) { //nolint:errorlint // these two and nothing that wraps them
		case nil:
			if grant.Life <= 0 || grant.Value.Empty() || strings.ContainsAny(grant.Value.Reveal(), " \r\n") || !succeeds {
				t.Errorf("the grant is of no use: life %v", grant.Life)
			}
		case *tokens.RefusedError, *clients.Error:
			clientstest.NoLeak(t, err, canaries...)
		default:
			t.Errorf("login: %T %v", err, err)
		}
	})
}
