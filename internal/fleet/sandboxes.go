package fleet

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks/all"
)

// firstOrganization is the ID of the first organization at Dinero; the others
// follow it.
const firstOrganization = 100001

// Dinero returns a function for Options.Sandboxes: a Dinero with organizations
// organizations. The client and the keys are replaced by ones with the canary.
func Dinero(o dinerotest.Options, organizations int) func(canary string) sandbox.Vendor {
	return func(canary string) sandbox.Vendor {
		o.ClientID = dinerotest.ClientID
		o.ClientSecret = canary + "secret"
		o.APIKeys = map[string]string{}
		for n := range organizations {
			o.APIKeys[fmt.Sprint(firstOrganization+n)] = fmt.Sprintf("%skey%d", canary, n)
		}
		return dinerotest.New(o)
	}
}

// newSandboxes returns a sandbox of every vendor. Dinero has no quota, because that
// is not what the fleet's tests are about. Those of replacements replace the ones
// with the same path.
func newSandboxes(
	canary string,
	replacements []func(canary string) sandbox.Vendor,
) sandbox.Vendors {
	vendors := sandboxes.New(canary)
	unlimited := Dinero(dinerotest.Options{}, 1)
	for _, replacement := range slices.Insert(slices.Clone(replacements), 0, unlimited) {
		vendor := replacement(canary)
		i := slices.IndexFunc(vendors, func(v sandbox.Vendor) bool {
			return v.Path() == vendor.Path()
		})
		if i < 0 {
			vendors = append(vendors, vendor)
			continue
		}
		vendors[i] = vendor
	}
	return vendors
}

// serveSandboxes serves the sandboxes and returns the settings that lead a worker
// to them.
func (f *Fixture) serveSandboxes() map[string]string {
	web := httptest.NewServer(f.traffic.record(f.Sandboxes.Handler()))
	f.tb.Cleanup(web.Close)
	environ := f.Sandboxes.Environ(web.URL)
	environ["DINERO_RATE"] = "none"
	return environ
}

// Queues returns WORKER_QUEUES for some queues, with a small concurrency; without
// names, for the queues of all vendors.
func Queues(names ...string) string {
	if len(names) == 0 {
		for _, q := range all.Vendors.Queues() {
			names = append(names, q.Name)
		}
	}
	const concurrency = 8
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s=%d", name, concurrency))
	}
	return strings.Join(parts, ",")
}

// Timeouts returns settings that bound every vendor's calls by d, and allow running
// calls to end when a worker stops.
func Timeouts(d time.Duration) map[string]string {
	environ := map[string]string{"SHUTDOWN_GRACE": max(d+6*time.Second, 25*time.Second).String()}
	for _, v := range all.Vendors {
		environ[v.Prefix()+"TIMEOUT"] = d.String()
	}
	return environ
}

// Settings returns what a worker is started with, for a test that runs one in its
// own process.
func (f *Fixture) Settings() map[string]string {
	return maps.Clone(f.settings)
}
