package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/fleet"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/settings"
)

const (
	// waitLimit bounds waits that take an instant on an idle machine.
	waitLimit = 90 * time.Second
	// recoveryLimit is the longest time from a crash until the tasks of the dead
	// worker are requeued: 30 s (docs/guarantees.md).
	recoveryLimit = slowdown * 30 * time.Second
)

var environ = settings.Environ(os.Environ())

func TestMain(m *testing.M) {
	if mode := environ[producerMark]; mode != "" {
		if err := runProducer(mode); err != nil {
			fmt.Fprintln(os.Stderr, "producer:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Most of a test's time is spent waiting for a failure to be noticed, so more of
	// them run at once than there are cores. A -parallel on the command line takes
	// precedence, because it is read later.
	_ = flag.Set("test.parallel", "5")
	redisconn.LogTo(zerolog.Nop()) // the tests' own clients see every outage
	fleet.Main(m, olderRelease)
}

// newRand returns a test's source of random choices, for one goroutine.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if given, err := strconv.ParseUint(environ["FAULTS_SEED"], 10, 64); err == nil {
		seed = given
	}
	t.Logf("FAULTS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
