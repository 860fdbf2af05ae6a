package redisconn

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

// met makes the instance that a test's connection meets: "A1" is the instance A
// after its first promotion.
func met(name string) instance {
	i := instance{runID: name[:1], replID: name, master: true}
	if name[1:] != "0" {
		i.from = "another's"
	}
	return i
}

func replica(name, of string) instance {
	return instance{runID: name, replID: of}
}

func fresh(i instance) instance {
	i.fresh = true
	return i
}

func promotedFrom(i instance, of string) instance {
	i.from = of
	return i
}

// What counts is the change, and no instance counts as known for having been the
// master once.
func TestFailoversAreToldEachTime(t *testing.T) {
	t.Parallel()
	emulation := instance{runID: "E", master: true}
	expired := met("A0")
	expired.replID = "another id"
	for _, tc := range []struct {
		name string
		mode Mode
		meet []instance
		want string // one letter a connection: T is told
	}{
		{"one instance", Single, []instance{met("A0"), met("A0"), met("A0")}, "---"},
		{"restart", Single, []instance{met("A0"), met("B0"), met("B0")}, "-T-"},
		{"there and back, never demoted", Single, []instance{met("A0"), met("B0"), met("A0"), met("B0")}, "-TTT"},
		{"there and back", Single, []instance{met("A0"), met("B1"), met("A1"), met("B2")}, "-TTT"},
		{"back before the other was met", Single, []instance{met("A0"), met("A1")}, "-T"},
		{"a backlog that expired", Single, []instance{met("A0"), expired}, "--"},
		{
			"no more than it says",
			Single,
			[]instance{emulation, emulation, {runID: "F", master: true}, emulation},
			"--TT",
		},
		{"nothing at all", Single, []instance{{}, {master: true}}, "--"},
		{"sentinel, there and back", Sentinel, []instance{met("A0"), met("B1"), met("A1"), met("B2")}, "-TTT"},
		{
			"sentinel, connections that come late to the old master",
			Sentinel,
			[]instance{met("A0"), met("B1"), met("A0"), met("B1"), met("A0"), met("B1")},
			"-T----",
		},
		{
			"sentinel, and to the old master as a replica",
			Sentinel,
			[]instance{met("A0"), met("B1"), replica("A", "B1"), met("B1"), met("A1")},
			"-T--T",
		},
		{"a fresh one at first", Single, []instance{fresh(met("A0")), fresh(met("A0"))}, "T-"},
		{"cluster, several masters", Cluster, []instance{met("A0"), met("B0"), met("C1"), met("A0")}, "----"},
		{
			"cluster, a replica that was met is promoted, and the other again",
			Cluster,
			[]instance{met("A0"), replica("B", "A0"), met("B1"), replica("A", "B1"), met("A1"), met("B2")},
			"--T-TT",
		},
		{
			"cluster, a replica that was not met is promoted",
			Cluster,
			[]instance{met("A0"), met("C0"), promotedFrom(met("B1"), "A0"), met("C0")},
			"--T-",
		},
		{"cluster, a node restarts", Cluster, []instance{met("A0"), met("B0"), fresh(met("C0")), met("A0")}, "--T-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var d FailoverDetector
			told := false
			d.OnFailover(func() { told = true })
			v := d.view(tc.mode)
			got := ""
			for _, i := range tc.meet {
				told = false
				v.observe(i)
				if told {
					got += "T"
				} else {
					got += "-"
				}
			}
			if got != tc.want {
				t.Errorf("told %s, want %s", got, tc.want)
			}
		})
	}
}

// A proxy before two masters does not stop for ever what waits after a failover.
func TestReturnsAreBounded(t *testing.T) {
	t.Parallel()
	var d FailoverDetector
	told := 0
	d.OnFailover(func() { told++ })
	v := d.view(Single)
	now := time.Now()
	v.now = func() time.Time { return now }
	for range 50 {
		v.observe(met("A0"))
		v.observe(met("B0"))
	}
	if told != 1+maxReturns {
		t.Errorf("told %d times in a minute, want %d", told, 1+maxReturns)
	}
	told = 0
	now = now.Add(2 * returnPeriod)
	v.observe(met("A0"))
	if told != 1 {
		t.Errorf("told %d times in the next minute, want once", told)
	}
}

// After the time of discovery an unknown master of a cluster is a new one.
func TestAClusterIsDiscoveredOnce(t *testing.T) {
	t.Parallel()
	var d FailoverDetector
	told := 0
	d.OnFailover(func() { told++ })
	v := d.view(Cluster)
	now := time.Now()
	v.now = func() time.Time { return now }
	v.observe(met("A0"))
	now = now.Add(discoveryTime + time.Second)
	v.observe(met("B0"))
	v.observe(met("B0"))
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}

// switchboard is an address that leads to one of several servers.
type switchboard struct {
	net.Listener
	mu    sync.Mutex
	to    string
	conns []net.Conn
}

func newSwitchboard(t *testing.T, to string) *switchboard {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &switchboard{Listener: l, to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			to := s.to
			s.mu.Unlock()
			wg.Go(func() { pipe(c, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.lead("")
		wg.Wait()
	})
	return s
}

// lead has new connections lead to another server, and closes the old ones.
func (s *switchboard) lead(to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// tracked opens a client of a URL. told counts how often it was told of a failover.
func tracked(t *testing.T, url string) (client redis.UniversalClient, told *int) {
	t.Helper()
	target, err := Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	var d FailoverDetector
	told = new(int)
	d.OnFailover(func() { *told++ })
	client, _ = target.OpenTracked(General, &d)
	t.Cleanup(func() { _ = client.Close() })
	return client, told
}

// A worker's client notices each change between two real servers.
func TestAFailbackIsNoticed(t *testing.T) {
	t.Parallel()
	a, b := redistest.New(t), redistest.New(t)
	board := newSwitchboard(t, a.Addr())
	client, told := tracked(t, "redis://"+board.Addr().String())
	roundTrip(t, client)
	for i, to := range []string{b.Addr(), a.Addr(), b.Addr()} {
		board.lead(to)
		roundTrip(t, client)
		if *told != i+1 {
			t.Errorf("after change %d: told %d times", i+1, *told)
		}
	}
}

// A process that starts just after Redis did is told once, for all its clients and
// although nobody was there to be told when they connected; an empty Redis has
// nothing that could be given out again.
func TestARecentStartIsAFailover(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, redistest.AOF("always"))
	target, err := Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	connect := func() (told int) {
		var d FailoverDetector
		for _, role := range []Role{Servers, General} {
			client, _ := target.OpenTracked(role, &d)
			defer func() { _ = client.Close() }()
			// The process's own writes are not what Redis may have lost.
			if err := client.Set(t.Context(), "own", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		d.OnFailover(func() { told++ })
		return told
	}
	if told := connect(); told != 0 {
		t.Errorf("an empty Redis: told %d times", told)
	}
	s.Kill()
	s.Start()
	if told := connect(); told != 1 {
		t.Errorf("a Redis that was just started: told %d times, want once", told)
	}
}

// A process that starts just after a promotion is told once; one that starts later is
// not, because the others have had time by then.
func TestARecentPromotionIsAFailover(t *testing.T) {
	t.Parallel()
	master, s := redistest.New(t), redistest.New(t)
	ctx := t.Context()
	if err := master.Client().Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(master.Addr())
	s.Client().ReplicaOf(ctx, host, port)
	testwait.Eventually(t, testwait.Limit, "the replica has the data", func() bool {
		return s.Client().Get(ctx, "k").Val() == "v"
	})
	testwait.Eventually(t, testwait.Limit, "its own start is no longer recent", func() bool {
		return !readInstance(ParseInfo(s.Client().Info(ctx).Val())).fresh
	})
	s.Client().ReplicaOf(ctx, "NO", "ONE")
	target, err := Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	connect := func() (told int) {
		var d FailoverDetector
		for _, role := range []Role{Servers, General} {
			client, _ := target.OpenTracked(role, &d)
			defer func() { _ = client.Close() }()
			if err := client.Ping(ctx).Err(); err != nil {
				t.Fatal(err)
			}
		}
		d.OnFailover(func() { told++ })
		return told
	}
	for _, who := range []string{"the first process", "another, at the same time"} {
		if told := connect(); told != 1 {
			t.Errorf("%s: told %d times, want once", who, told)
		}
	}
	id, at, _ := strings.Cut(s.Client().Get(ctx, promotionKey).Val(), " ")
	first, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s.Client().Set(ctx, promotionKey, fmt.Sprint(id, " ", first-freshFor.Milliseconds()), 0)
	if told := connect(); told != 0 {
		t.Errorf("5 s later: told %d times", told)
	}
	s.Client().ConfigSet(ctx, "min-replicas-to-write", "1") // as after a real failover
	s.Client().Do(ctx, "REPLICAOF", host, port)
	s.Client().Do(ctx, "REPLICAOF", "NO", "ONE")
	if told := connect(); told != 1 {
		t.Errorf("a promoted one that takes no writes: told %d times, want once", told)
	}
}

// A client asks sentinels for its master, and takes none of them for one that has
// changed.
func TestASentinelIsNoMaster(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinel(t, redistest.SentinelOptions{})
	client, told := tracked(t, s.URL())
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if *told != 0 {
		t.Errorf("told %d times of a failover, and there was none", *told)
	}
	s.Failover(t)
	testwait.Eventually(t, testwait.Limit, "the client meets the new master", func() bool {
		_ = client.Ping(t.Context()).Err()
		return *told != 0
	})
}

func TestReadInstance(t *testing.T) {
	t.Parallel()
	info := func(uptime, replid2, keyspace string) map[string]string {
		return ParseInfo(strings.Join([]string{
			"# Server", "run_id:r", "uptime_in_seconds:" + uptime, "role:master", "master_replid:m",
			"master_replid2:" + replid2, "# Keyspace", keyspace, "",
		}, "\r\n"))
	}
	nobody := strings.Repeat("0", 40)
	for _, tc := range []struct {
		name string
		info map[string]string
		want instance
	}{
		{"old", info("6", nobody, "db0:keys=1,expires=0"), instance{"r", "m", "", true, false}},
		{"fresh", info("5", nobody, "db3:keys=1,expires=0"), instance{"r", "m", "", true, true}},
		{"fresh and empty", info("0", nobody, ""), instance{"r", "m", "", true, false}},
		{"promoted", info("60", "0a0", ""), instance{"r", "m", "0a0", true, false}},
		{"emulation", ParseInfo("# Clients\r\nconnected_clients:1\r\n"), instance{master: true}},
		{"replica", ParseInfo("run_id:r\r\nrole:slave\r\nmaster_replid:m\r\n"), instance{"r", "m", "", false, false}},
	} {
		if got := readInstance(tc.info); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// serial is a hook that sends one script at a time, as a worker's clients do.
type serial struct{ mu sync.Mutex }

func (s *serial) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *serial) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *serial) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			s.mu.Lock()
			defer s.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

// What a connection asks a promoted Redis does not wait for the script that it is made for:
// go-redis sends it through the client's hooks.
func TestAScriptMeetsAPromotedRedis(t *testing.T) {
	t.Parallel()
	master, s := redistest.New(t), redistest.New(t)
	ctx := t.Context()
	master.Client().Set(ctx, "k", "v", 0)
	host, port, _ := net.SplitHostPort(master.Addr())
	s.Client().ReplicaOf(ctx, host, port)
	testwait.Eventually(t, testwait.Limit, "the replica has the data", func() bool {
		return s.Client().Get(ctx, "k").Val() == "v"
	})
	s.Client().ReplicaOf(ctx, "NO", "ONE")
	target, err := Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	client, _ := target.OpenTracked(Servers, &FailoverDetector{})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(&serial{})
	answered := make(chan error, 1)
	go func() {
		answered <- client.Eval(context.Background(), "return redis.call('GET', KEYS[1])", []string{"k"}).Err()
	}()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the script waits for its own connection")
	}
	if s.Client().Exists(ctx, promotionKey).Val() != 1 {
		t.Error("the promotion is not written down")
	}
}
