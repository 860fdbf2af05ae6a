// Package sandboxes lists the vendors' sandboxes and what else they contribute to
// the demo. The demo, the test of docker-compose.yml and the tests of whole workers
// share the list.
package sandboxes

import (
	"errand.internal/clients/sandbox"
	"errand.internal/internal/demo"
	"errand.internal/tasks/anna/annademo"
	"errand.internal/tasks/danaconnect/danaconnectdemo"
	"errand.internal/tasks/dckap/dckapdemo"
	"errand.internal/tasks/dinero/dinerodemo"
)

// Vendors are all vendors, in the order in which the demo shows them.
var Vendors = []demo.Vendor{
	danaconnectdemo.Vendor,
	annademo.Vendor,
	dckapdemo.Vendor,
	dinerodemo.Vendor,
}

// New returns a sandbox of every vendor in the order of Vendors, with the demo's
// data. canary, if it is not empty, is part of every secret.
func New(canary string) sandbox.Vendors {
	list := make(sandbox.Vendors, len(Vendors))
	for i, v := range Vendors {
		list[i] = v.NewSandbox(canary)
	}
	return list
}
