package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// A start that waits after a failover waits for what the next one wants as well.
func TestStartsWaitForTheLatestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReplay(&Server{log: zerolog.Nop(), gone: make(chan struct{})})
		began := time.Now()
		r.all()
		go func() {
			time.Sleep(replayFor - time.Second)
			r.all()
		}()
		if err := r.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*replayFor-time.Second {
			t.Errorf("it waited %v", took)
		}
	})
}
