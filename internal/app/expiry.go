package app

import (
	"context"
	"strconv"
	"time"

	"errand.internal/internal/alert"
	"errand.internal/internal/tokens"
)

// expiryInterval is how often the days left are counted.
const expiryInterval = time.Hour

// warnOfExpiry publishes an alert as a static token nears its last day, once for
// each of tokens.WarnBefore, until ctx ends. It returns at once if the token never
// expires. A restarted worker repeats the latest alert with the same DedupKey, so
// that no event is sent twice.
func warnOfExpiry(
	ctx context.Context,
	credential string,
	lastDay time.Time,
	now func() time.Time,
	publish alert.Func,
) {
	if lastDay.IsZero() {
		return
	}
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	for warned := 0; ; {
		c := tokens.CountdownTo(lastDay, now())
		if c.Threshold != 0 && c.Threshold != warned {
			warned = c.Threshold
			day := lastDay.Format(time.DateOnly)
			publish(alert.Alert{
				Kind:     alert.CredentialExpiring,
				Subject:  credential,
				DedupKey: day + " " + strconv.Itoa(c.Threshold),
				Data: map[string]string{
					"lastDay":  day,
					"daysLeft": strconv.Itoa(max(c.DaysLeft, 0)),
					"over":     strconv.FormatBool(c.Expired),
				},
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
