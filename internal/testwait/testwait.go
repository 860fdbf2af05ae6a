// Package testwait lets tests wait for a condition that another goroutine or
// process brings about, and that no channel announces.
package testwait

import (
	"testing"
	"time"
)

// Limit bounds a wait for what takes an instant, or the seconds that the awaited itself
// takes, on an idle machine. A busy one may take many times that.
const Limit = 2 * time.Minute

// pause is the time between two checks of a condition.
const pause = 10 * time.Millisecond

// Eventually calls ok every 10 ms until it returns true. When it has not done
// so within the given time, the test fails at once with what, which names the
// awaited condition. Like t.Fatal, it belongs in the test's own goroutine.
func Eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	if !Poll(within, ok) {
		t.Fatalf("not within %s: %s", within, what)
	}
}

// Poll is Eventually for goroutines other than the test's: it reports whether ok
// returned true within the given time.
func Poll(within time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}
