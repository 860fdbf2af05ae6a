package dinero_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
)

// The tables of the vendor's guide are generated from the code.
func TestGoldenDocs(t *testing.T) {
	const page = "../../docs/vendors/dinero.md"
	var answers strings.Builder
	answers.WriteString("| status | code | method | kind | meaning |\n|---|---|---|---|---|\n")
	for _, r := range dinero.Rules() {
		kind := r.Kind.String()
		meaning := r.Message
		span := fmt.Sprintf("%d–%d", r.From, r.To)
		switch {
		case r.Done:
			kind = "done"
		case r.ByStatus:
			kind = "by status"
		}
		if r.From == r.To {
			span = fmt.Sprint(r.From)
		}
		if r.RetryAfter > 0 {
			meaning += fmt.Sprintf("; after `Retry-After`, else %d s", r.RetryAfter/time.Second)
		}
		if r.Organization == admission.Refused {
			meaning += "; opens the organization's breaker"
		}
		fmt.Fprintf(&answers, "| %s | %s | %s | %s | %s |\n", span, r.Code, r.Method, kind, meaning)
	}
	clientstest.GoldenPart(t, page, "answers", answers.String())
	clientstest.GoldenPart(t, page, "statuses", clientstest.StatusTable())
}
