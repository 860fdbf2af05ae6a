package schedule

import (
	"testing"
	"time"

	"errand.internal/internal/broker"
)

func TestExpireAfter(t *testing.T) {
	t.Parallel()
	passcode := codeSend{}.Policy()
	for _, test := range []struct {
		name   string
		period time.Duration
		policy broker.Policy
		want   time.Duration
	}{
		{"a repeatable task expires with its tick", time.Hour, stockRead{}.Policy(), time.Hour},
		{"a passcode keeps its own time", time.Hour, passcode, passcode.Budget},
		{"a passcode of a shorter period expires with its tick", time.Minute, passcode, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := expireAfter(test.period, test.policy); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
