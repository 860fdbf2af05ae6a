package anna_test

import (
	"fmt"
	"strings"
	"testing"

	"errand.internal/clients/anna"
	"errand.internal/clients/clientstest"
)

// The tables of the vendor's guide are those of the code.
func TestGoldenDocs(t *testing.T) {
	const page = "../../docs/vendors/anna.md"
	var answers strings.Builder
	answers.WriteString("| operation | answer | kind | meaning |\n|---|---|---|---|\n")
	for _, r := range anna.Rules() {
		meaning := r.Message
		if r.RetryAfter > 0 {
			meaning += fmt.Sprintf("; asked again after %d min", int(r.RetryAfter.Minutes()))
		}
		fmt.Fprintf(&answers, "| %s | %s | %s | %s |\n", r.Op, r.Observation, r.Kind, meaning)
	}
	clientstest.GoldenPart(t, page, "answers", answers.String())
	clientstest.GoldenPart(t, page, "statuses", clientstest.StatusTable())
}
