package dckap_test

import (
	"fmt"
	"strings"
	"testing"

	"errand.internal/internal/admission"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
)

// The tables of the vendor's guide are generated from the code.
func TestGoldenDocs(t *testing.T) {
	const page = "../../docs/vendors/dckap.md"
	var answers strings.Builder
	answers.WriteString("| status | answer | kind | meaning | opens the breaker of |\n|---|---|---|---|---|\n")
	descriptions := map[dckap.BodyClass]string{
		dckap.AnyBody:        "any",
		dckap.RuleMet:        "JSON that meets the pipe's rule",
		dckap.NoRule:         "JSON, and the pipe has no rule",
		dckap.ReportsFailure: "JSON with a failure field",
		dckap.RuleNotMet:     "JSON that does not meet the pipe's rule",
		dckap.Unreadable:     "empty, `null`, a web page, truncated, not JSON",
	}
	for _, r := range dckap.Rules() {
		kind := r.Kind.String()
		opens := ""
		span := fmt.Sprintf("%d–%d", r.From, r.To)
		switch {
		case r.Done && r.Body == dckap.RuleMet:
			kind = "done, verified"
		case r.Done:
			kind = "done"
		case r.ByStatus:
			kind = "by status"
		}
		if r.Credential == admission.Refused {
			opens = "the credential"
		}
		if r.Pipe == admission.Refused {
			opens = "the pipe"
		}
		if r.From == r.To {
			span = fmt.Sprint(r.From)
		}
		fmt.Fprintf(&answers, "| %s | %s | %s | %s | %s |\n", span, descriptions[r.Body], kind, r.Message, opens)
	}
	clientstest.GoldenPart(t, page, "answers", answers.String())
	clientstest.GoldenPart(t, page, "failure fields", "- "+strings.Join(dckap.FailureFields, "\n- ")+"\n")
	clientstest.GoldenPart(t, page, "statuses", clientstest.StatusTable())
}
