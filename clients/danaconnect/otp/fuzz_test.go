package otp_test

import (
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/secret"
)

// FuzzAnswers gives send and verify any answer. Neither may panic, leak a secret,
// or succeed on an answer that does not say so.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"idRequest":251,"responseCode":"01","conversationRequestId":"h"}`,
		`{"idRequest":"251","responseCode":4}`,
		`{"responseCode":"06"}`,
		"",
		"null",
		"[]",
		"<html>",
		"\xef\xbb\xbf{}",
		`{"idRequest":`,
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
		c, err := otp.New(config("https://danaconnect.example/"), &clientstest.Gate{}, caller)
		if err != nil {
			t.Fatal(err)
		}
		sent, sendErr := c.Send(t.Context(), message())
		verified, verifyErr := c.Verify(
			t.Context(),
			otp.Verification{IDRequest: "251", OTP: secret.New("canary-otp")},
		)
		if (sendErr == nil) != (sent.IDRequest != "") ||
			verifyErr == nil && (verified.Verdict != otp.Correct || status > 299) {
			t.Errorf("sent %+v, %v; verified %+v, %v", sent, sendErr, verified, verifyErr)
		}
		for _, err := range []error{sendErr, verifyErr} {
			if err != nil {
				clientstest.NoLeak(t, err, append(canaries(), "canary-otp")...)
			}
		}
	})
}
