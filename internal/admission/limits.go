package admission

import (
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/settings"
)

// Limits are what an operator allows the calls of one account.
type Limits struct {
	// Name is the account's name in errors, metrics and keys. It is no secret.
	Name string
	// Identity is all that makes it this account and no other at the vendor.
	Identity []string
	// Rate limits calls per window; zero means unlimited.
	Rate settings.Rate
	// Concurrency limits the calls in progress; zero means unlimited.
	Concurrency settings.Count
	// CallTimeout is how long one call may take.
	CallTimeout time.Duration
	// QuotaPause is how long the account pauses after a 429 without Retry-After. Unset:
	// the window of the Rate, but 1 s to 1 min.
	QuotaPause time.Duration
}

// IsZero reports whether nothing is limited.
func (l Limits) IsZero() bool {
	return l.Rate.IsZero() && l.Concurrency == 0
}

// Names returns the names of the limits that the account has, as errors and metrics
// have them.
func (l Limits) Names() []string {
	var names []string
	if !l.Rate.IsZero() {
		names = append(names, l.rateName())
	}
	if l.Concurrency > 0 {
		names = append(names, l.concurrencyName())
	}
	return names
}

func (l Limits) rateName() string {
	return l.Name + ":rate"
}

func (l Limits) concurrencyName() string {
	return l.Name + ":concurrency"
}

// String returns the limits as an operator reads them: "95/1m, 4 at once".
func (l Limits) String() string {
	var parts []string
	if !l.Rate.IsZero() {
		parts = append(parts, l.Rate.String())
	}
	if l.Concurrency > 0 {
		parts = append(parts, fmt.Sprintf("%d at once", l.Concurrency))
	}
	return strings.Join(parts, ", ")
}

func (l Limits) quotaPause() time.Duration {
	if l.QuotaPause > 0 {
		return l.QuotaPause
	}
	return min(max(l.Rate.Per, time.Second), time.Minute)
}

// maxBurst is the most calls that a rate admits at once.
const maxBurst = 5

// bucket returns a Rate as the scripts count it, in microseconds: one call every
// interval, and up to slack earlier, which admits a burst.
func bucket(r settings.Rate) (interval, slack int64) {
	if r.IsZero() {
		return 0, 0
	}
	burst := int64(max(1, min(maxBurst, r.N/10)))
	// A window holds the burst and what follows evenly, N together. The microsecond
	// more keeps the last one out of a window that begins with the first.
	interval = r.Per.Microseconds()/(int64(r.N)-burst+1) + 1
	return interval, (burst - 1) * interval
}
