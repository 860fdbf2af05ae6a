package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/produce"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

func decode(t *testing.T, taskType, raw string) tasks.Payload {
	t.Helper()
	p, err := all.Vendors.Decode(taskType, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The description of the interface is the file that clients are generated from.
func TestGoldenDescription(t *testing.T) {
	t.Parallel()
	raw, err := json.MarshalIndent(httpapi.Description(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	clientstest.Golden(t, "../../docs/openapi.json", raw)
}

// The descriptions need no key, say the same, and load nothing from elsewhere.
func TestTheDescriptionsArePublic(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	spec := f.do("GET", "/v1/openapi.json", "", "Authorization", "")
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(spec.body, &doc); err != nil || doc.OpenAPI != "3.1.0" || spec.status != 200 {
		t.Fatalf("status %d, %v: %.200s", spec.status, err, spec.body)
	}
	var types []produce.TypeDetail
	listed := f.do("GET", "/v1/types", "", "Authorization", "")
	if err := json.Unmarshal(listed.body, &types); err != nil || len(types) != len(all.Vendors.Types()) {
		t.Fatalf("%d types, %v", len(types), err)
	}
	page := f.do("GET", "/v1/docs", "", "Authorization", "")
	for _, d := range types {
		if doc.Paths["/v1/tasks/"+d.Type]["post"] == nil || !strings.Contains(string(page.body), d.Type) {
			t.Errorf("%s is not described", d.Type)
		}
	}
	for _, outside := range []string{"http://", "https://", "<script", "src=", "@import"} {
		if strings.Contains(string(page.body), outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("the page's policy: %q", policy)
	}
	for name := range page.header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("the answer has %s", name)
		}
	}
}
