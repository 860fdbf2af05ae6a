package app

import (
	"context"
	"strconv"
	"time"

	"errand.internal/internal/alert"
	"errand.internal/internal/tokens"
)

// expiryEvery is how often the days left are counted.
const expiryEvery = time.Hour

// warnOfExpiry raises an alert as a static token nears its last day, once for
// each of tokens.WarnBefore, until ctx ends. A restart of the worker does not
// repeat it. It returns at once if the token never ends.
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
	for warned := 0; ; {
		c := tokens.CountdownTo(last, now())
		if c.Threshold != 0 && c.Threshold != warned {
			warned = c.Threshold
			day := last.Format(time.DateOnly)
			to(alert.Alert{
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
