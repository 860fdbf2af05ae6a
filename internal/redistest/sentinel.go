package redistest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	masterName      = "errand"
	sentinelTimeout = 2 * time.Minute // as clusterTimeout
)

// SentinelOptions say what NewSentinel starts. A zero number means one.
type SentinelOptions struct {
	// Password is what the sentinels require, unless it is empty.
	Password  string
	Replicas  int
	Sentinels int
}

// Sentinel is a master and its replicas, monitored by sentinels, most of which must
// agree on a failover.
type Sentinel struct {
	nodes     []*Server // the initial master, then its replicas
	sentinels []*Server

	clientOnce sync.Once
	client     *redis.Client
}

// NewSentinel starts the servers and returns when the sentinels know the replicas and
// each other. opts apply to master and replicas. The test stops the servers when it
// ends.
func NewSentinel(tb testing.TB, o SentinelOptions, opts ...Option) *Sentinel {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	opts = append([]Option{Config("repl-diskless-sync-delay", "0")}, opts...)
	master := New(tb, opts...)
	s := &Sentinel{nodes: []*Server{master}}
	replicaOf := Config("replicaof", "127.0.0.1 "+strconv.Itoa(master.port))
	for range max(o.Replicas, 1) {
		s.nodes = append(s.nodes, New(tb, append(slices.Clone(opts), replicaOf)...))
	}
	for _, replica := range s.nodes[1:] {
		if err := replica.waitInfo(ctx, "replication", "master_link_status:up"); err != nil {
			tb.Fatalf("redistest: wait for the replica: %v", err)
		}
	}
	for range max(o.Sentinels, 1) {
		s.sentinels = append(s.sentinels, New(tb, s.monitor(o)...))
	}
	tb.Cleanup(func() {
		_ = s.Client().Close()
	})
	if err := s.waitReplicated(ctx); err != nil {
		tb.Fatalf("redistest: wait for the sentinels: %v", err)
	}
	return s
}

// monitor is the configuration of a sentinel.
func (s *Sentinel) monitor(o SentinelOptions) []Option {
	master := s.nodes[0]
	quorum := max(o.Sentinels, 1)/2 + 1
	opts := []Option{
		func(c *config) {
			*c = config{sentinel: true}
		},
		Config("sentinel", fmt.Sprintf("monitor %s 127.0.0.1 %d %d", masterName, master.port, quorum)),
		Config("sentinel", "down-after-milliseconds "+masterName+" 2000"),
		Config("sentinel", "failover-timeout "+masterName+" 10000"),
	}
	if password := master.conf.password; password != "" {
		opts = append(opts, Config("sentinel", "auth-pass "+masterName+" "+quote(password)))
	}
	if o.Password != "" {
		opts = append(opts, Password(o.Password))
	}
	return opts
}

// Server is the first sentinel's process, for tests that stop it.
func (s *Sentinel) Server() *Server {
	return s.sentinels[0]
}

// Nodes are the data servers: the initial master, then its replicas.
func (s *Sentinel) Nodes() []*Server {
	return s.nodes
}

// MasterName is the name under which the sentinels know the master.
func (s *Sentinel) MasterName() string {
	return masterName
}

// URL is the address in the form of REDIS_URL, with the password of the data nodes.
func (s *Sentinel) URL() string {
	u := url.URL{
		Scheme:   "redis-sentinel",
		Host:     strings.Join(s.addrs(), ","),
		Path:     "/0",
		RawQuery: url.Values{"master": {masterName}}.Encode(),
	}
	if password := s.nodes[0].conf.password; password != "" {
		u.User = url.UserPassword("", password)
	}
	return u.String()
}

func (s *Sentinel) addrs() []string {
	addrs := make([]string, 0, len(s.sentinels))
	for _, sentinel := range s.sentinels {
		addrs = append(addrs, sentinel.Addr())
	}
	return addrs
}

// Client is the test's client, which follows the master and is closed with the
// sentinels.
func (s *Sentinel) Client() *redis.Client {
	s.clientOnce.Do(func() {
		s.client = redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName:       masterName,
			SentinelAddrs:    s.addrs(),
			SentinelPassword: s.sentinels[0].conf.password,
			Password:         s.nodes[0].conf.password,
			DisableIdentity:  true,
		})
	})
	return s.client
}

// Master is the node that the first sentinel names.
func (s *Sentinel) Master(tb testing.TB) *Server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	master, err := s.masterOf(ctx, s.sentinels[0])
	if err != nil {
		tb.Fatalf("redistest: ask for the master: %v", err)
	}
	return master
}

// masterOf is the node that a sentinel names.
func (s *Sentinel) masterOf(ctx context.Context, sentinel *Server) (*Server, error) {
	reply, err := sentinel.Client().Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName).StringSlice()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(reply[0], reply[1])
	for _, node := range s.nodes {
		if node.Addr() == addr {
			return node, nil
		}
	}
	return nil, fmt.Errorf("the master is %s, which is none of the nodes", addr)
}

// Failover promotes a replica as an operator would, and returns when it is the
// master.
func (s *Sentinel) Failover(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	old := s.Master(tb)
	// The sentinel promotes a replica only after it has polled it, which may not
	// have happened yet.
	err := poll(ctx, func() (bool, error) {
		err := s.sentinels[0].Client().Do(ctx, "SENTINEL", "FAILOVER", masterName).Err()
		if redis.HasErrorPrefix(err, "INPROG") { // the reply to the first request was lost
			return true, nil
		}
		return err == nil, err
	})
	if err != nil {
		tb.Fatalf("redistest: failover: %v", err)
	}
	s.WaitFailover(tb, old)
}

// WaitFailover waits until all sentinels name a master other than old, and that is
// one.
func (s *Sentinel) WaitFailover(tb testing.TB, old *Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	for _, sentinel := range s.sentinels {
		var master *Server
		err := poll(ctx, func() (bool, error) {
			var err error
			master, err = s.masterOf(ctx, sentinel)
			return master != old, err
		})
		if err == nil {
			err = master.waitInfo(ctx, "replication", "role:master")
		}
		if err != nil {
			tb.Fatalf("redistest: wait for the new master: %v\nthe sentinel's log: %s", err, sentinel.output())
		}
	}
}

// WaitReplicated waits until all other nodes are replicas of the master and the
// sentinels know it, so that the next failover can come.
func (s *Sentinel) WaitReplicated(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), sentinelTimeout)
	defer cancel()
	if err := s.waitReplicated(ctx); err != nil {
		tb.Fatalf("redistest: wait for the replicas: %v", err)
	}
}

// Replicas is how many replicas the master has.
func (s *Sentinel) Replicas() int {
	return len(s.nodes) - 1
}

// Epoch grows with each failover.
func (s *Sentinel) Epoch(tb testing.TB) int {
	tb.Helper()
	epoch := 0
	for _, sentinel := range s.sentinels {
		master := redis.NewMapStringStringCmd(tb.Context(), "SENTINEL", "MASTER", masterName)
		if err := sentinel.Client().Process(tb.Context(), master); err != nil {
			tb.Fatalf("redistest: ask for the epoch: %v", err)
		}
		n, err := strconv.Atoi(master.Val()["config-epoch"])
		if err != nil {
			tb.Fatalf("redistest: read the epoch: %v", err)
		}
		epoch = max(epoch, n)
	}
	return epoch
}

func (s *Sentinel) waitReplicated(ctx context.Context) error {
	status := fmt.Sprintf("status=ok,address=%%s,slaves=%d,sentinels=%d", len(s.nodes)-1, len(s.sentinels))
	for _, sentinel := range s.sentinels {
		master, err := s.masterOf(ctx, sentinel)
		if err != nil {
			return err
		}
		if err := sentinel.waitInfo(ctx, "sentinel", fmt.Sprintf(status, master.Addr())); err != nil {
			return err
		}
		for _, node := range s.nodes {
			if node == master {
				continue
			}
			port := "master_port:" + strconv.Itoa(master.port) + "\r\n"
			if err := node.waitInfo(ctx, "replication", "role:slave", port, "master_link_status:up"); err != nil {
				return err
			}
		}
	}
	return nil
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
		return fmt.Errorf("wait for %q: %w; INFO is: %s", texts, err, info)
	}
	return nil
}
