// Package all lists the vendors. A worker and the command line know from here
// which task types there are; application code imports the packages of the
// vendors that it uses.
package all

import (
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dckap"
	"errand.internal/tasks/dinero"
)

// Vendors are all vendors, in the order in which they are documented.
var Vendors = tasks.Vendors{
	danaconnect.Vendor,
	anna.Vendor,
	dckap.Vendor,
	dinero.Vendor,
}
