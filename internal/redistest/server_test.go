package redistest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

func TestServersAreIndependent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	first, second := redistest.New(t), redistest.New(t)
	if err := first.Client().Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := second.Client().Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("the second server has the first one's key: %v", err)
	}
	for key, want := range map[string]string{"maxmemory-policy": "noeviction", "save": "", "appendonly": "no"} {
		got, err := first.Client().ConfigGet(ctx, key).Result()
		if err != nil || got[key] != want {
			t.Errorf("%s = %q (%v), want %q", key, got[key], err, want)
		}
	}
}

func TestConcurrentLaunchesUseDifferentPorts(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	addrs := make(chan string, 8)
	for range cap(addrs) {
		wg.Go(func() {
			s, err := redistest.Launch()
			if err != nil {
				t.Error(err)
				return
			}
			addrs <- s.Addr()
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	close(addrs)
	seen := map[string]bool{}
	for addr := range addrs {
		if seen[addr] {
			t.Errorf("two servers on %s", addr)
		}
		seen[addr] = true
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		opts  []redistest.Option
		down  func(*redistest.Server)
		keeps bool
	}{
		{name: "stop forgets without persistence", down: (*redistest.Server).Stop},
		{
			name:  "stop keeps the append-only file",
			opts:  []redistest.Option{redistest.AOF("everysec")},
			down:  (*redistest.Server).Stop,
			keeps: true,
		},
		{
			name:  "kill keeps what was written with always",
			opts:  []redistest.Option{redistest.AOF("always")},
			down:  (*redistest.Server).Kill,
			keeps: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t, tt.opts...)
			addr := s.Addr()
			if err := s.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			tt.down(s)
			if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
				_ = c.Close()
				t.Fatal("the server still listens")
			}
			s.Start()
			if s.Addr() != addr {
				t.Errorf("came back on %s, was %s", s.Addr(), addr)
			}
			n, err := s.Client().Exists(t.Context(), "k").Result()
			if err != nil || (n == 1) != tt.keeps {
				t.Errorf("the key is there: %v (%v), want %v", n == 1, err, tt.keeps)
			}
		})
	}
}

func TestPauseFreezesAndResumeAnswers(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	ctx := t.Context()
	if err := s.Client().Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	s.Pause()
	s.Pause() // pausing twice is the same as once
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 7)
	if n, err := c.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a paused server answered %q (%v)", answer[:n], err)
	}
	s.Resume()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(answer); err != nil || string(answer[:n]) != "+PONG\r\n" {
		t.Errorf("after Resume: %q, %v", answer[:n], err)
	}
}

func TestStopEndsAPausedServer(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	s.Pause()
	s.Stop()
	s.Start()
	s.Pause() // the cleanup kills a paused server
}

func TestPasswordIsRequired(t *testing.T) {
	t.Parallel()
	const password = `p@ss "wo\rd/ü`
	s := redistest.New(t, redistest.Password(password))
	if err := s.Client().Ping(t.Context()).Err(); err != nil {
		t.Errorf("Client: %v", err)
	}
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if opts.Password != password || opts.Addr != s.Addr() {
		t.Errorf("URL() = %q", s.URL())
	}
	opts.Password = ""
	unauthenticated := redis.NewClient(opts)
	defer func() { _ = unauthenticated.Close() }()
	if err := unauthenticated.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v, want NOAUTH", err)
	}
}

func TestConfigSetsADirective(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	got, err := s.Client().ConfigGet(t.Context(), "maxmemory-policy").Result()
	if err != nil || got["maxmemory-policy"] != "allkeys-lru" {
		t.Errorf("maxmemory-policy = %v (%v)", got, err)
	}
}

func TestBrokenConfigSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := redistest.Launch(redistest.Config("no-such-directive", "1"))
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("Launch = %v, want the server's message", err)
	}
}

func TestMissingServerFailsWithInstructions(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := redistest.Launch()
	if err == nil {
		t.Fatal("Launch found a redis-server in an empty PATH")
	}
	for _, want := range []string{"make test", "apt-get install redis-server", "brew install redis"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestLaunchCleansUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := redistest.Launch()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client().Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if c, err := net.DialTimeout("tcp", s.Addr(), time.Second); err == nil {
		_ = c.Close()
		t.Error("the server still listens")
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, redistest.Password("pa:ss"))
	ctx := t.Context()
	if got := len(c.Addrs()); got != 3 {
		t.Fatalf("%d addresses", got)
	}
	if want := "redis-cluster://:pa%3Ass@" + strings.Join(c.Addrs(), ","); c.URL() != want {
		t.Errorf("URL() = %q, want %q", c.URL(), want)
	}
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		if err := c.Client().Set(ctx, key, "v", 0).Err(); err != nil {
			t.Errorf("SET %s: %v", key, err)
		}
	}
	for _, node := range c.Nodes() {
		if n, err := node.Client().DBSize(ctx).Result(); err != nil || n == 0 {
			t.Errorf("%s has %d keys (%v): the slots are not spread", node.Addr(), n, err)
		}
	}
}

func TestClusterNodeRestarts(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3)
	c.Nodes()[1].Kill()
	c.Nodes()[1].Start()
	c.WaitOK(t)
	err := c.Client().
		ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error { return node.Ping(ctx).Err() })
	if err != nil {
		t.Error(err)
	}
}

// A replica takes the place of a master that is killed, which returns as its replica.
func TestClusterReplacesAMasterThatDies(t *testing.T) {
	t.Parallel()
	c := redistest.NewReplicatedCluster(t, 3, redistest.Config("cluster-node-timeout", "1000"))
	old := c.MasterOf(t, "k")
	old.Kill()
	c.WaitFailover(t, old)
	// The client learns of it by its own calls.
	testwait.Eventually(t, time.Minute, "the slots of the dead master take writes", func() bool {
		return c.Client().Set(t.Context(), "k", "v", 0).Err() == nil
	})
	if c.MasterOf(t, "k") == old {
		t.Error("the dead master still has the slot")
	}
	old.Start()
	c.WaitReplicated(t)
}
