package schedule

import (
	"strings"
	"testing"

	"errand.internal/tasks/all"
)

// The key of a scheduled task is its tick. A payload with a key of its own would get a
// second identity, and be created once more at every tick.
func TestPayloadWithItsOwnKeyIsRefused(t *testing.T) {
	t.Parallel()
	const rule = "body.ExternalReference must be left out: a schedule would create the same record at every tick"
	for name, lines := range map[string][]string{
		"in the payload": {
			"type: dinero:invoice:create",
			`payload: {organizationId: "123456", body: {ExternalReference: order-1001, Comment: a}}`,
		},
		"in forEach": {
			"type: dinero:contact:create",
			`payload: {organizationId: "123456", body: {Name: Ana}}`,
			"forEach: {body.ExternalReference: [crm-1, crm-2]}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := oneSchedule(append([]string{"name: a", "every: 10m"}, lines...)...)
			_, err := Load(write(t, map[string]string{"s.yaml": file}), all.Vendors)
			if err == nil || !strings.Contains(err.Error(), rule) {
				t.Errorf("got %v, want %q", err, rule)
			}
		})
	}
	loaded := oneSchedule(
		"name: a",
		"every: 10m",
		"type: dinero:contact:create",
		`payload: {organizationId: "123456", body: {Name: Ana}}`,
	)
	if _, err := Load(write(t, map[string]string{"s.yaml": loaded}), all.Vendors); err != nil {
		t.Errorf("without a reference: %v", err)
	}
}
