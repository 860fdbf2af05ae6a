package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
)

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinel(t, "watch it", redistest.Password("data"))
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
	if err := s.Nodes()[1].Client().Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Errorf("the new master does not take writes: %v", err)
	}
	if got, want := s.URL(), "redis-sentinel://:data@"+s.Server().Addr()+"/0?master="+s.MasterName(); got != want {
		t.Errorf("URL() = %q, want %q", got, want)
	}
}
