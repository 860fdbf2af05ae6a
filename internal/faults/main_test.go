package faults

import (
	"flag"
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

// soon bounds waits that take an instant on an idle machine.
const soon = 90 * time.Second

// The promise for the time from a crash until its tasks are run or ruled again,
// and what a machine that does much else may take.
const (
	recoverWithin   = 30 * time.Second
	recoverPatience = 45 * time.Second
)

var environ = settings.Environ(os.Environ())

func TestMain(m *testing.M) {
	// Most of a test's time is waiting for somebody to notice something, so more
	// of them run at once than there are cores. A -parallel of the caller's wins.
	_ = flag.Set("test.parallel", "5")
	redisconn.LogTo(zerolog.Nop()) // the tests' own clients meet every outage
	fleet.Main(m)
}

// dice are a test's random choices. They are for one goroutine.
func dice(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if given, err := strconv.ParseUint(environ["FAULTS_SEED"], 10, 64); err == nil {
		seed = given
	}
	t.Logf("FAULTS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
