package danaconnect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// FuzzAnswers gives every operation, and the login, any answer. None may panic,
// fail with anything but the promised error, leak a secret, or succeed on an
// answer that does not say so.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"wsResult":{"idResult":0}}`, `{"wsResult":{"idResult":"7"}}`, `{"wsError":{"errorDescription":"x"}}`, `{"status":true}`, `{"status":false}`,
		`{"idRequest":251,"responseCode":"01","conversationRequestId":"h"}`, `{"idRequest":"251","responseCode":4}`, `{"responseCode":"06"}`,
		`{"access_token":"t","token_type":"Bearer","expires_in":3600}`, `{"error":"invalid_client"}`, `{"access_token":"t","expires_in":"1e99"}`,
		"", "null", "[]", "<html>", "\xef\xbb\xbf{}", `{"wsResult":`,
	} {
		for _, status := range []int{0, 4, 102, 200, 201, 300, 303} { // of 200 and more
			f.Add(status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%800+800)%800 // any final status
		plain := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
		for _, o := range apiOps {
			answer, _, err := o.answered(t, status, string(body))
			if answer.Body != nil && !json.Valid(answer.Body) {
				t.Errorf("%s: the answer keeps what is not JSON", o.op)
			}
			if err == nil {
				if status > 299 || (len(plain) > 0 && !json.Valid(plain)) {
					t.Errorf("%s succeeded", o.op)
				}
				continue
			}
			if e, ok := clients.AsError(err); !ok || e.NotSent || e.Op != o.op {
				t.Errorf("%s: %#v", o.op, err)
			}
		}

		caller := clients.NewCaller(
			danaconnect.Vendor,
			clients.Timeouts{},
			clientstest.Canned{Status: status, Body: string(body)},
			nil,
		)
		otp, err := danaconnect.NewOTP(config("https://danaconnect.example/"), &clientstest.Gate{}, caller)
		if err != nil {
			t.Fatal(err)
		}
		sent, sendErr := otp.SendOTP(t.Context(), code())
		verified, verifyErr := otp.VerifyOTP(
			t.Context(),
			danaconnect.Verification{IDRequest: "251", OTP: secret.New("canary-otp")},
		)
		if (sendErr == nil) != (sent.IDRequest != "") ||
			verifyErr == nil && (verified.Verdict != danaconnect.Correct || status > 299) {
			t.Errorf("sent %+v, %v; verified %+v, %v", sent, sendErr, verified, verifyErr)
		}
		for _, err := range []error{sendErr, verifyErr} {
			if err != nil {
				clientstest.NoLeak(t, err, append(apiCanaries, "canary-otp")...)
			}
		}

		login, err := danaconnect.NewAPILogin(apiConfig("https://danaconnect.example/"), caller)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := login.Fetch(t.Context())
		if err == nil {
			if grant.Life <= 0 || grant.Value.Empty() || strings.ContainsAny(grant.Value.Reveal(), " \r\n") ||
				status > 299 {
				t.Errorf("the grant is of no use: life %v", grant.Life)
			}
			return
		}
		_, refused := errors.AsType[*tokens.RefusedError](err)
		if _, ok := clients.AsError(err); !ok && !refused {
			t.Errorf("login: %T", err)
		}
		clientstest.NoLeak(t, err, apiCanaries...)
	})
}
