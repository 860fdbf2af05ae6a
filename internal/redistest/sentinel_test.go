package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
)

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinel(t, redistest.SentinelOptions{Password: "watch it"}, redistest.Password("data"))
	ctx := t.Context()
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Server().Addr(), Password: "watch it"})
	defer func() { _ = client.Close() }()
	master := func() string {
		t.Helper()
		addr, err := client.GetMasterAddrByName(ctx, s.MasterName()).Result()
		if err != nil {
			t.Fatal(err)
		}
		return addr[0] + ":" + addr[1]
	}
	if got := master(); got != s.Nodes()[0].Addr() {
		t.Errorf("the master is %s, want %s", got, s.Nodes()[0].Addr())
	}
	s.Failover(t)
	if got := master(); got != s.Nodes()[1].Addr() {
		t.Errorf("after the failover the master is %s", got)
	}
	if err := s.Nodes()[1].Client().Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Errorf("the new master does not take writes: %v", err)
	}
	if got, want := s.URL(), "redis-sentinel://:data@"+s.Server().Addr()+"/0?master="+s.MasterName(); got != want {
		t.Errorf("URL() = %q, want %q", got, want)
	}
}

// Most of the sentinels replace a master that is killed, and again the one that took
// its place, once it has returned as a replica.
func TestSentinelsReplaceAMasterThatDies(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinel(t, redistest.SentinelOptions{Replicas: 2, Sentinels: 3})
	for range 2 {
		old := s.Master(t)
		if err := s.Client().Set(t.Context(), "k", old.Addr(), 0).Err(); err != nil {
			t.Fatal(err)
		}
		old.Kill()
		s.WaitFailover(t, old)
		if master := s.Master(t); master == old {
			t.Errorf("the master is still %s", old.Addr())
		}
		old.Start()
		s.WaitReplicated(t)
		if n, err := old.Client().Exists(t.Context(), "k").Result(); err != nil || n != 1 {
			t.Errorf("the old master has %d of the keys (%v)", n, err)
		}
	}
}
