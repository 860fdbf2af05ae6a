package api_test

import (
	"errors"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/internal/tokens"
)

// FuzzLogin gives the login any answer. It may not panic, fail with anything but
// the promised errors, leak a secret, or return an unusable token.
func FuzzLogin(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"t","token_type":"Bearer","expires_in":3600}`,
		`{"access_token":"t","expires_in":"1e99"}`,
		`{"error":"invalid_client"}`,
		"",
		"null",
		"[]",
		"<html>",
		"\xef\xbb\xbf{}",
		`{"access_token":`,
	} {
		for _, status := range []int{0, 4, 102, 200, 201, 300, 303} { // added to 200
			f.Add(status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%800+800)%800 // any final status
		caller := clients.NewCaller(
			danaconnect.Vendor,
			clients.Timeouts{},
			clientstest.Canned{Status: status, Body: string(body)},
			nil,
		)
		login, err := api.NewLogin(config("https://danaconnect.example/"), caller)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := login.Fetch(t.Context())
		if err == nil {
			value := grant.Value.Reveal()
			if grant.Life <= 0 || value == "" || strings.ContainsAny(value, " \r\n") || status > 299 {
				t.Errorf("the grant is unusable: life %v", grant.Life)
			}
			return
		}
		_, refused := errors.AsType[*tokens.RefusedError](err)
		if _, ok := clients.AsError(err); !ok && !refused {
			t.Errorf("error of type %T", err)
		}
		clientstest.NoLeak(t, err, canaries...)
	})
}
