package redistest

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	masterName      = "errand"
	sentinelTimeout = 30 * time.Second
)

// Sentinel is a master and a replica, monitored by one sentinel whose vote alone is
// a quorum.
type Sentinel struct {
	nodes    []*Server // the initial master, then its replica
	sentinel *Server
}

// NewSentinel starts the three servers and returns when the sentinel knows the
// replica. opts apply to master and replica; the sentinel requires
// sentinelPassword unless it is empty. The test stops the servers when it ends.
func NewSentinel(tb testing.TB, sentinelPassword string, opts ...Option) *Sentinel {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	opts = append([]Option{Config("repl-diskless-sync-delay", "0")}, opts...)
	master := New(tb, opts...)
	replica := New(
		tb,
		append(
			slices.Clone(opts),
			Config("replicaof", "127.0.0.1 "+strconv.Itoa(master.port)),
		)...)
	if err := replica.waitInfo(ctx, "replication", "master_link_status:up"); err != nil {
		tb.Fatalf("redistest: wait for the replica: %v", err)
	}
	monitor := []Option{
		func(c *config) {
			*c = config{sentinel: true}
		},
		Config(
			"sentinel",
			fmt.Sprintf("monitor %s 127.0.0.1 %d 1", masterName, master.port),
		),
		Config("sentinel", "down-after-milliseconds "+masterName+" 2000"),
		Config("sentinel", "failover-timeout "+masterName+" 5000"),
	}
	if password := master.conf.password; password != "" {
		monitor = append(
			monitor,
			Config("sentinel", "auth-pass "+masterName+" "+quote(password)),
		)
	}
	if sentinelPassword != "" {
		monitor = append(monitor, Password(sentinelPassword))
	}
	s := &Sentinel{nodes: []*Server{master, replica}, sentinel: New(tb, monitor...)}
	if err := s.sentinel.waitInfo(ctx, "sentinel", "status=ok", "slaves=1"); err != nil {
		tb.Fatalf("redistest: wait for the sentinel: %v", err)
	}
	return s
}

// Server is the sentinel's process, for tests that stop it.
func (s *Sentinel) Server() *Server {
	return s.sentinel
}

// Nodes are the data servers: the initial master, then its replica.
func (s *Sentinel) Nodes() []*Server {
	return s.nodes
}

// MasterName is the name under which the sentinel knows the master.
func (s *Sentinel) MasterName() string {
	return masterName
}

// URL is the address in the form of REDIS_URL, with the password of the data nodes.
func (s *Sentinel) URL() string {
	u := url.URL{
		Scheme:   "redis-sentinel",
		Host:     s.sentinel.Addr(),
		Path:     "/0",
		RawQuery: url.Values{"master": {masterName}}.Encode(),
	}
	if password := s.nodes[0].conf.password; password != "" {
		u.User = url.UserPassword("", password)
	}
	return u.String()
}

// Failover promotes the replica as an operator would, and returns when it is the
// master.
func (s *Sentinel) Failover(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	client := redis.NewSentinelClient(
		clientOptions(s.sentinel.Addr(), s.sentinel.conf.password),
	)
	defer func() {
		_ = client.Close()
	}()
	// The sentinel promotes a replica only after it has polled it, which may not
	// have happened yet.
	err := poll(ctx, func() (bool, error) {
		err := client.Failover(ctx, masterName).Err()
		if redis.HasErrorPrefix(err, "NOGOODSLAVE") {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		tb.Fatalf("redistest: failover: %v", err)
	}
	if err := s.nodes[1].waitInfo(ctx, "replication", "role:master"); err != nil {
		tb.Fatalf("redistest: wait for the new master: %v", err)
	}
}

// waitInfo waits until a section of INFO contains all texts.
func (s *Server) waitInfo(ctx context.Context, section string, texts ...string) error {
	var info string
	err := poll(ctx, func() (bool, error) {
		var err error
		if info, err = s.Client().Info(ctx, section).Result(); err != nil {
			return false, err
		}
		for _, text := range texts {
			if !strings.Contains(info, text) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("%w; INFO is: %s", err, info)
	}
	return nil
}
