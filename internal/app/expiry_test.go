package app

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"errand.internal/internal/announce"
)

func TestExpiryIsAnnouncedOnceForEachStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var left []string
		go warnOfExpiry(ctx, "dckap", time.Now().AddDate(0, 0, 40), time.Now, func(a announce.Announcement) {
			left = append(left, a.Data["daysLeft"])
		})
		time.Sleep(45 * 24 * time.Hour) // of the bubble's clock
		cancel()
		synctest.Wait()
		if len(left) != 4 || left[0] != "30" || left[1] != "14" || left[2] != "7" || left[3] != "1" {
			t.Errorf("announced with %v days left", left)
		}
	})
	warnOfExpiry(t.Context(), "never", time.Time{}, time.Now, nil) // returns
}
