package danaconnect_test

import (
	"fmt"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/otp"
)

// TestGoldenDocs keeps the tables of the vendor's guide equal to those of the code.
func TestGoldenDocs(t *testing.T) {
	const page = "../../docs/vendors/danaconnect.md"
	var codes, answers strings.Builder
	codes.WriteString("| | code | kind | meaning |\n|---|---|---|---|\n")
	for _, r := range otp.Rules() {
		kind, meaning := r.Kind.String(), r.Message
		if r.Success {
			kind, meaning = "done", "accepted for sending"
			if r.Op == otp.OpVerify {
				meaning = "the code is correct"
			}
		}
		if r.Verdict != otp.None {
			meaning += fmt.Sprintf(" (`%s`)", r.Verdict)
		}
		fmt.Fprintf(&codes, "| %s | %s | %s | %s |\n", r.Op, r.Code, kind, meaning)
	}
	clientstest.GoldenPart(t, page, "otp codes", codes.String())

	answers.WriteString("| the body says | status | kind | meaning |\n|---|---|---|---|\n")
	for _, r := range danaconnect.AnswerRules() {
		kind := r.Kind.String()
		meaning := r.Message
		span := fmt.Sprintf("%d–%d", r.From, r.To)
		switch {
		case r.Success:
			kind, meaning = "done", ""
		case r.ByStatus:
			kind, meaning = "by status", ""
		}
		switch r.From {
		case r.To:
			span = fmt.Sprint(r.From)
		case 100:
			span = "any other"
		}
		fmt.Fprintf(&answers, "| %s | %s | %s | %s |\n", r.Signal, span, kind, meaning)
	}
	clientstest.GoldenPart(t, page, "answers", answers.String())
	clientstest.GoldenPart(t, page, "statuses", clientstest.StatusTable())
	clientstest.GoldenPart(t, page, "login errors", "`"+strings.Join(clients.TokenRefusals(), "`, `")+"`\n")
}
