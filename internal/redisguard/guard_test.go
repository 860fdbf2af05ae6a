package redisguard

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

func open(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	target, err := redisconn.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Open(redisconn.General)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// expected is one finding: its name, its level and a part of "Seen | Fix".
type expected struct {
	name  string
	level Level
	text  string
}

func (e expected) check(t *testing.T, r Report) {
	t.Helper()
	f, found := r.Find(e.name)
	if !found || f.Level != e.level || !strings.Contains(f.Seen+" | "+f.Fix, e.text) {
		t.Errorf("%s: %+v, want %s and %q", e.name, f, e.level, e.text)
	}
	if found && (f.Level == OK) != (f.Fix == "") {
		t.Errorf("%s: level %s with the fix %q", e.name, f.Level, f.Fix)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		opts    []redistest.Option
		want    []expected
		refused bool
	}{
		{
			name: "healthy", opts: []redistest.Option{redistest.AOF("always"), redistest.Password("canary")},
			want: []expected{
				{Reachable, OK, "answers"},
				{Version, OK, "."},
				{Role, OK, "master"},
				{Eviction, OK, "noeviction"},
				{Persistence, OK, "append-only file, appendfsync always"},
				{Writable, OK, "takes writes"},
				{Clock, OK, "apart"},
				{Latency, OK, "a round trip"},
			},
		},
		{
			name:    "evicts",
			opts:    []redistest.Option{redistest.Config("maxmemory-policy", "allkeys-lru")},
			refused: true,
			want: []expected{
				{
					Eviction,
					Fail,
					"maxmemory-policy is allkeys-lru and must be noeviction | redis-cli CONFIG SET maxmemory-policy noeviction",
				},
			},
		},
		{
			name:    "evicts and forbids CONFIG",
			refused: true,
			opts: []redistest.Option{
				redistest.Config("maxmemory-policy", "volatile-ttl"),
				redistest.Config("rename-command", `CONFIG ""`),
			},
			want: []expected{
				{Eviction, Fail, "maxmemory-policy is volatile-ttl"},
				{Persistence, Warn, "is unknown"},
			},
		},
		{
			name: "no persistence",
			want: []expected{
				{Persistence, Warn, "none: a restart of Redis loses every task | redis-cli CONFIG SET appendonly yes"},
			},
		},
		{
			name: "snapshots", opts: []redistest.Option{redistest.Config("save", "3600 1")},
			want: []expected{{Persistence, Warn, "snapshots only (save 3600 1)"}},
		},
		{
			name: "appendfsync no", opts: []redistest.Option{redistest.AOF("no")},
			want: []expected{{Persistence, Warn, "appendfsync no"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t, tc.opts...)
			r := Inspect(t.Context(), open(t, s.URL()), time.Now)
			for _, e := range tc.want {
				e.check(t, r)
			}
			if !r.Answered() || len(r.Findings) != 8 {
				t.Errorf("%+v", r)
			}
			refused, ok := errors.AsType[*EvictionError](r.Refusal())
			if ok != tc.refused {
				t.Fatalf("refusal = %v", r.Refusal())
			}
			if ok &&
				(strings.Contains(refused.Error(), "\n") || !strings.Contains(refused.Error(), "CONFIG SET maxmemory-policy noeviction")) {
				t.Errorf("refusal = %q", refused)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	locked := redistest.New(t, redistest.Password("right"))
	gone := redistest.New(t)
	gone.Stop()
	frozen := redistest.New(t)
	frozen.Pause()
	plain := redistest.New(t)
	web := httptest.NewServer(nil)
	t.Cleanup(web.Close)
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	member := redistest.NewCluster(t, 1).Nodes()[0]
	weak := redistest.New(t,
		redistest.Config("user", "watcher on >canary ~* -@all +ping +client|setname"),
		redistest.Config("user", "nobody on >canary ~* -@all +ping"),
	)
	for _, tc := range []struct {
		name, url, text string
	}{
		{"no password", "redis://" + locked.Addr(), "the login is refused | correct the user and the password"},
		{"wrong password", "redis://:canary@" + locked.Addr(), "the login is refused"},
		{
			"no permission to name itself",
			"redis://nobody:canary@" + weak.Addr(),
			"the user lacks permissions | give the user",
		},
		{"stopped", gone.URL(), "connection refused | start Redis"},
		{"frozen", frozen.URL(), "no answer in time"},
		{
			"TLS to a plain server",
			"rediss://" + plain.Addr(),
			"it does not answer the TLS handshake | write redis:// instead of rediss:// in REDIS_URL if it has no TLS",
		},
		{"no TLS to a TLS server", "redis://" + secure.Listener.Addr().String(), "it speaks TLS | write rediss://"},
		{"TLS to something else", "rediss://" + web.Listener.Addr().String(), "it does not speak TLS | write redis://"},
		{
			"an unknown certificate",
			"rediss://" + secure.Listener.Addr().String(),
			"its certificate is not trusted | name the host",
		},
		{"not a cluster", "redis-cluster://" + plain.Addr(), "it is not a cluster | write redis://"},
		{"stopped cluster", "redis-cluster://" + gone.Addr(), "connection refused"},
		{"stopped sentinels", "redis-sentinel://" + gone.Addr() + "?master=m", "no sentinel"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			limit := 20 * time.Second
			if tc.name == "frozen" {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			r := Inspect(ctx, open(t, tc.url), time.Now)
			expected{Reachable, Fail, tc.text}.check(t, r)
			if r.Answered() || r.Refusal() != nil || len(r.Findings) != 1 ||
				strings.Contains(r.Findings[0].Seen, "canary") {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("a node of a cluster", func(t *testing.T) {
		t.Parallel()
		want := expected{Role, Fail, "one node of a cluster | write redis-cluster://"}
		want.check(t, Check(t.Context(), open(t, member.URL())))
	})
	t.Run("a user with few permissions", func(t *testing.T) {
		t.Parallel()
		r := Inspect(t.Context(), open(t, "redis://watcher:canary@"+weak.Addr()), time.Now)
		for _, e := range []expected{
			{Reachable, OK, "answers"},
			{Version, Warn, "unknown"},
			{Role, Warn, "unknown"},
			{Eviction, Warn, "unknown"},
			{Persistence, Warn, "unknown"},
			{Clock, Warn, "TIME was not answered"},
			{Latency, OK, "a round trip"},
		} {
			e.check(t, r)
		}
	})
}

// An emulation implements neither CONFIG nor most of INFO.
func TestEmulation(t *testing.T) {
	t.Parallel()
	r := Inspect(t.Context(), open(t, "redis://"+miniredis.RunT(t).Addr()), time.Now)
	for _, e := range []expected{
		{Reachable, OK, "answers"},
		{Version, Warn, "unknown"},
		{Eviction, Warn, "neither CONFIG nor INFO"},
		{Persistence, Warn, "unknown"},
	} {
		e.check(t, r)
	}
	if r.Refusal() != nil {
		t.Errorf("refused: %v", r.Refusal())
	}
}

func TestReplicaAndSentinel(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinel(t, redistest.SentinelOptions{})
	expected{Role, OK, "master"}.check(t, Check(t.Context(), open(t, s.URL())))
	replica := redistest.New(t, redistest.Config("replicaof", strings.ReplaceAll(s.Nodes()[0].Addr(), ":", " ")))
	want := expected{
		Role,
		Fail,
		"a replica, which accepts no writes | name its master in REDIS_URL: " + s.Nodes()[0].Addr(),
	}
	want.check(t, Check(t.Context(), open(t, replica.URL())))
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, redistest.AOF("everysec"))
	nodes := c.Nodes()
	rdb := open(t, c.URL())
	r := Inspect(t.Context(), rdb, time.Now)
	for _, e := range []expected{
		{Reachable, OK, "3 masters answer"},
		{Role, OK, "master"},
		{Eviction, OK, "noeviction"},
		{Persistence, OK, "appendfsync everysec"},
		{Clock, OK, "apart"},
		{Latency, OK, "a round trip"},
	} {
		e.check(t, r)
	}
	if err := nodes[1].Client().ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lfu").Err(); err != nil {
		t.Fatal(err)
	}
	r = Check(t.Context(), rdb)
	expected{Eviction, Fail, "allkeys-lfu and must be noeviction on " + nodes[1].Addr() + " |"}.check(t, r)
	if r.Refusal() == nil {
		t.Error("a cluster with one node that evicts is not refused")
	}
	nodes[2].Stop()
	r = Check(t.Context(), rdb)
	expected{Reachable, Fail, "1 of 3 masters cannot be asked: connection refused on " + nodes[2].Addr()}.check(t, r)
	expected{Eviction, Fail, nodes[1].Addr()}.check(t, r)
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	rdb := open(t, redistest.New(t).URL())
	for _, tc := range []struct {
		name string
		off  time.Duration
		want expected
	}{
		{"right", 0, expected{Clock, OK, "apart"}},
		{"slow", -20 * time.Minute, expected{Clock, Warn, "Redis' clock is 20m0s ahead of"}},
		{"fast", time.Hour, expected{Clock, Warn, "Redis' clock is 1h0m0s behind"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, Inspect(t.Context(), rdb, func() time.Time { return time.Now().Add(tc.off) }))
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	info := func(pairs ...string) facts {
		f := facts{info: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			f.info[pairs[i]] = pairs[i+1]
		}
		return f
	}
	for _, tc := range []struct {
		name string
		got  Finding
		want expected
	}{
		{
			"old",
			info("redis_version", "6.0.20").version(),
			expected{Version, Fail, "6.0.20 | install Redis 6.2 or newer"},
		},
		{"very old", info("redis_version", "5.2.1").version(), expected{Version, Fail, "5.2.1"}},
		{"oldest supported", info("redis_version", "6.2.0").version(), expected{Version, OK, "6.2.0"}},
		{"two digits", info("redis_version", "10.0.0").version(), expected{Version, OK, "10.0.0"}},
		{
			"another server",
			info("redis_version", "7.2.4", "server_name", "valkey").version(),
			expected{Version, OK, "valkey, compatible with Redis 7.2.4"},
		},
		{"no number", info("redis_version", "unstable").version(), expected{Version, Warn, "unknown"}},
		{
			"full disk",
			info("aof_enabled", "1", "aof_last_write_status", "err").persistence(),
			expected{Persistence, Fail, "cannot be written"},
		},
		{
			"failed snapshot",
			info("aof_enabled", "0", "rdb_last_bgsave_status", "err").persistence(),
			expected{Persistence, Warn, "last snapshot failed"},
		},
		{
			"append-only file, CONFIG forbidden",
			info("aof_enabled", "1").persistence(),
			expected{Persistence, OK, "append-only file"},
		},
		{"near", judgeLatency(400 * time.Microsecond), expected{Latency, OK, "400µs a round trip"}},
		{"farther", judgeLatency(8 * time.Millisecond), expected{Latency, OK, "8ms a round trip; below 5ms"}},
		{"far", judgeLatency(51 * time.Millisecond), expected{Latency, Warn, "51ms a round trip, and every task"}},
		{
			"skew within the round trip",
			judgeClock(2500*time.Millisecond, 1200*time.Millisecond),
			expected{Clock, OK, "2.5s apart"},
		},
		{"skewed", judgeClock(2500*time.Millisecond, time.Millisecond), expected{Clock, Warn, "2.5s ahead"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, Report{Findings: []Finding{tc.got}})
		})
	}
}

func TestMergeNamesThreeMasters(t *testing.T) {
	t.Parallel()
	var nodes []node
	for _, addr := range []string{"a", "b", "c", "d", "e"} {
		nodes = append(
			nodes,
			node{addr: addr, findings: []Finding{{OK, Latency, addr + "ms", ""}, {Fail, Eviction, "bad", "fix"}}},
		)
	}
	nodes[0].findings[1] = Finding{OK, Eviction, "good", ""}
	r := merge(nodes)
	if f, _ := r.Find(Latency); f.Seen != "ams on a; bms on b; cms on c; and 2 others" {
		t.Errorf("%+v", f)
	}
	if f, _ := r.Find(Eviction); f.Seen != "bad on b, c, d, 1 others" || f.Fix != "fix" {
		t.Errorf("%+v", f)
	}
}
