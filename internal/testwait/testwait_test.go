package testwait

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// recorder is a test that keeps its failure instead of failing.
type recorder struct {
	testing.TB

	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestEventuallyReturnsOnceTheConditionHolds(t *testing.T) {
	calls := 0
	Eventually(t, time.Minute, "third call", func() bool {
		calls++
		return calls == 3
	})
	if calls != 3 {
		t.Errorf("the condition was checked %d times, want 3", calls)
	}
}

func TestEventuallyFailsWithTheNameOfTheCondition(t *testing.T) {
	failing := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Eventually(failing, time.Millisecond, "the job is done", func() bool { return false })
	}()
	<-done

	if want := "not within 1ms: the job is done"; failing.failure != want {
		t.Errorf("failure %q, want %q", failing.failure, want)
	}
}
