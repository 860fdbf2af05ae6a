package fleet

import (
	"flag"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	// The tests wait more than they compute. A -parallel on the command line takes
	// precedence, because it is read later.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	Main(m)
}

// waitLimit bounds waits that take an instant on an idle machine.
const waitLimit = 90 * time.Second

// redisKinds are the kinds of Redis on which the fleet's promises hold.
var redisKinds = []struct {
	name  string
	nodes int
}{
	{name: "one Redis"},
	{name: "cluster of three", nodes: 3},
}
