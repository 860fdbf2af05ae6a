package anna_test

import (
	"testing"
	"time"

	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// Results that open a chat or a list of requests are kept for five minutes only.
// A login or a link may be created again, and an inactivation is repeated for
// three days.
func TestRetentionAndRepetition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		task      tasks.Payload
		retention time.Duration
		budget    time.Duration
	}{
		{anna.UserHash{}, 5 * time.Minute, 2 * time.Minute},
		{anna.MessengerLink{}, 5 * time.Minute, 2 * time.Minute},
		{anna.UserInactivate{}, 0, 72 * time.Hour},
	} {
		p := tt.task.Policy()
		if p.Retention != tt.retention || p.Budget != tt.budget || p.Redelivery != tasks.AtLeastOnce {
			t.Errorf("%s: %+v", tt.task.Type(), p)
		}
	}
}
