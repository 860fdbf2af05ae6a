package app

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"errand.internal/internal/alert"
)

func TestExpiryIsAnnouncedOnceForEachStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var left []string
		once := map[string]bool{}
		last := time.Now().AddDate(0, 0, 40)
		tell := func(a alert.Alert) {
			if a.Kind != alert.CredentialExpiring || a.Subject != "dckap" ||
				a.Data["lastDay"] != last.Format(time.DateOnly) {
				t.Errorf("announced %+v", a)
			}
			mu.Lock()
			defer mu.Unlock()
			left = append(left, a.Data["daysLeft"])
			once[a.DedupKey] = true
		}
		go warnOfExpiry(ctx, "dckap", last, time.Now, tell)
		time.Sleep(12 * 24 * time.Hour) // of the bubble's clock
		go warnOfExpiry(ctx, "dckap", last, time.Now, tell)
		time.Sleep(33 * 24 * time.Hour)
		cancel()
		synctest.Wait()
		// The second worker starts with 28 days left and says what the first has said.
		if got := strings.Join(left, " "); got != "30 28 14 14 7 7 1 1" || len(once) != 4 {
			t.Errorf("announced with %s days left, as %d different ones", got, len(once))
		}
	})
	warnOfExpiry(t.Context(), "never", time.Time{}, time.Now, nil) // returns
}
