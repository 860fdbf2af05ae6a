// Package sandboxes lists the vendors' sandboxes. The demo, the compose file's
// test and the tests of whole workers share the list.
package sandboxes

import (
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

// demos make the sandboxes, one line a vendor.
var demos = []func(canary string) sandbox.Vendor{
	danaconnecttest.Demo,
	annatest.Demo,
	dckaptest.Demo,
	dinerotest.Demo,
}

// New returns a sandbox of every vendor, with the demo's data. canary, if it is
// not empty, is part of every secret.
func New(canary string) sandbox.Vendors {
	vendors := make(sandbox.Vendors, len(demos))
	for i, demo := range demos {
		vendors[i] = demo(canary)
	}
	return vendors
}
