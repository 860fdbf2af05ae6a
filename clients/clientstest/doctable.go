package clientstest

import (
	"fmt"
	"strings"

	"errand.internal/clients"
)

// StatusTable renders clients.StatusRules as the table of a vendor's guide.
func StatusTable() string {
	var table strings.Builder
	table.WriteString("| status | kind | meaning |\n|---|---|---|\n")
	for _, r := range clients.StatusRules() {
		span, meaning := fmt.Sprint(r.From), r.Message
		if r.From != r.To {
			span = fmt.Sprintf("%d–%d", r.From, r.To)
		}
		if r.Only != "" {
			span += ", " + string(r.Only)
		}
		if r.Wait {
			meaning += "; `Retry-After` is honoured"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", span, r.Kind, meaning)
	}
	return table.String()
}
