package fleet

import (
	"flag"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	// They wait more than they compute. A -parallel of the command line counts
	// more: it is read later.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	Main(m)
}

// soon bounds waits that take an instant on an idle machine.
const soon = 90 * time.Second

// everyQueue is WORKER_QUEUES with all that the site has vendors for.
const everyQueue = "otp=8,anna=8,polls=8,dckap=8,dinero=8"

// stores are the kinds of Redis on which the fleet's promises are shown.
var stores = []struct {
	name  string
	nodes int
}{
	{name: "one Redis"},
	{name: "cluster of three", nodes: 3},
}
