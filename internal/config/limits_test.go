package config

import (
	"fmt"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// docs/admission.md lists the limits and the breaker of every vendor with their defaults.
func TestGoldenLimits(t *testing.T) {
	var table strings.Builder
	table.WriteString("| vendor | rate | concurrency | breaker |\n|---|---|---|---|\n")
	for _, v := range all.Vendors {
		fmt.Fprintf(
			&table,
			"| %s | %s | %s | %s |\n",
			v.Title,
			limitOf(v, "RATE"),
			limitOf(v, "CONCURRENCY"),
			limitOf(v, "BREAKER"),
		)
	}
	clientstest.GoldenPart(t, "../../docs/admission.md", "limits", table.String())
}

// limitOf describes the variable of a vendor's limit with its default; a dash if
// the vendor has no such variable.
func limitOf(v tasks.Vendor, name string) string {
	var accounts []any
	for _, a := range v.Accounts {
		accounts = append(accounts, a.Settings())
	}
	for _, variable := range settings.Describe(accounts...) {
		if variable.Name != v.Prefix()+name {
			continue
		}
		if variable.Default == "" {
			return "`" + variable.Name + "`, no limit by default"
		}
		return "`" + variable.Name + "`, `" + variable.Default + "` by default"
	}
	return "–"
}
