package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"errand.internal/internal/events/deliver"
	"errand.internal/tasks/all"
)

// A queue that no worker runs by default would fill unnoticed.
func TestEveryQueueRunsByDefault(t *testing.T) {
	t.Parallel()
	c, _ := Read(nil)
	var used []string
	for _, d := range append(all.Vendors.Definitions(), deliver.Definition(nil)) {
		if !slices.Contains(used, d.Base.Queue) {
			used = append(used, d.Base.Queue)
		}
	}
	slices.Sort(used)
	if have := slices.Sorted(maps.Keys(c.Queues)); !slices.Equal(have, used) {
		t.Errorf("WORKER_QUEUES has %s by default, the task types name %s", have, used)
	}
}

func TestQueuesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"good", "otp=20, dinero=1", ""},
		{"unknown", "otp=20,nosuch=1", `names the queue "nosuch"; there are otp, danaconnect, `},
		{"no number", "otp", "must give queue otp a concurrency from 1 to 10000, as in otp=10"},
		{"none", "otp=0", "must give queue otp a concurrency from 1 to 10000, as in otp=10"},
		{"too many", "otp=10001", "must give queue otp a concurrency from 1 to 10000, as in otp=10"},
		{"twice", "otp=1,otp=2", "names the queue otp twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var q Queues
			got := ""
			if err := q.UnmarshalText([]byte(tc.text)); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
