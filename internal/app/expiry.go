package app

import (
	"context"
	"strconv"
	"time"

	"errand.internal/internal/alert"
	"errand.internal/internal/tokens"
)

// expiryEvery is how often the days are counted.
const expiryEvery = time.Hour

// warnOfExpiry announces that a static token nears its last day, once for each
// of tokens.WarnBefore, until ctx ends. That a worker starts anew between two of
// them is no reason to announce it again. It returns at once if the token never
// ends.
func warnOfExpiry(
	ctx context.Context,
	credential string,
	last time.Time,
	now func() time.Time,
	to alert.Func,
) {
	if last.IsZero() {
		return
	}
	ticker := time.NewTicker(expiryEvery)
	defer ticker.Stop()
	for said := 0; ; {
		c := tokens.CountdownTo(last, now())
		if c.Threshold != 0 && c.Threshold != said {
			said = c.Threshold
			day := last.Format(time.DateOnly)
			to(alert.Alert{
				Kind:     alert.CredentialExpiring,
				Subject:  credential,
				DedupKey: day + " " + strconv.Itoa(c.Due),
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
