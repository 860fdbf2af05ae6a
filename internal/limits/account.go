package limits

import (
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/settings"
)

// Account is whose calls are limited.
type Account struct {
	// Name is its name in errors, metrics and keys. It is no secret.
	Name string
	// Identity is all that makes it this account and no other at the vendor.
	Identity []string
	// Rate is so many calls in a span of time; zero for as many as there are.
	Rate settings.Rate
	// AtOnce is so many calls at once; zero for as many as there are.
	AtOnce settings.Count
	// Call is how long one call may take.
	Call time.Duration
	// Rest is how long the account rests after a 429 that does not say. Unset: the
	// span of the Rate, but 1 s to 1 min.
	Rest time.Duration
}

// Limited reports whether the account has any limit.
func (a Account) Limited() bool { return !a.Rate.IsZero() || a.AtOnce > 0 }

// Limits names the limits that the account has, as errors and metrics do.
func (a Account) Limits() []string {
	var names []string
	if !a.Rate.IsZero() {
		names = append(names, a.rateName())
	}
	if a.AtOnce > 0 {
		names = append(names, a.concurrencyName())
	}
	return names
}

func (a Account) rateName() string {
	return a.Name + ":rate"
}

func (a Account) concurrencyName() string {
	return a.Name + ":concurrency"
}

// String is the limits as an operator reads them: "95/1m, 4 at once".
func (a Account) String() string {
	var parts []string
	if !a.Rate.IsZero() {
		parts = append(parts, a.Rate.String())
	}
	if a.AtOnce > 0 {
		parts = append(parts, fmt.Sprintf("%d at once", a.AtOnce))
	}
	return strings.Join(parts, ", ")
}

func (a Account) rest() time.Duration {
	if a.Rest > 0 {
		return a.Rest
	}
	return min(max(a.Rate.Per, time.Second), time.Minute)
}

// mostAtOnce is the most calls that a rate lets go at once.
const mostAtOnce = 5

// bucket is a Rate as the scripts count it, in microseconds: one call every
// interval, and so much earlier as slack, which lets some go at once.
func bucket(r settings.Rate) (interval, slack int64) {
	if r.IsZero() {
		return 0, 0
	}
	atOnce := int64(max(1, min(mostAtOnce, r.N/10)))
	// A window holds the burst and what follows evenly, N together. The microsecond
	// more keeps the last one out of a window that begins with the first.
	interval = r.Per.Microseconds()/(int64(r.N)-atOnce+1) + 1
	return interval, (atOnce - 1) * interval
}
