package redistest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	clusterTimeout = 2 * time.Minute // long, because the machine may run many tests at once
	slots          = 16384
)

// Cluster is a Redis Cluster. While a master is down and no replica has taken its
// place, its slots are unavailable.
type Cluster struct {
	masters int
	nodes   []*Server // the initial masters, then their replicas

	clientOnce sync.Once
	client     *redis.ClusterClient
}

// NewCluster starts nodes masters that share the slots evenly, and returns when
// each reports cluster_state:ok (about 3 s). The test stops them when it ends.
func NewCluster(tb testing.TB, nodes int, opts ...Option) *Cluster {
	tb.Helper()
	return newCluster(tb, nodes, 0, opts)
}

// NewReplicatedCluster is NewCluster with a replica for each of the masters.
func NewReplicatedCluster(tb testing.TB, masters int, opts ...Option) *Cluster {
	tb.Helper()
	return newCluster(tb, masters, masters, opts)
}

func newCluster(tb testing.TB, masters, replicas int, opts []Option) *Cluster {
	tb.Helper()
	opts = append([]Option{
		Config("cluster-node-timeout", "5000"),
		func(c *config) {
			c.cluster = true
		},
	}, opts...)
	c := &Cluster{masters: masters}
	for range masters + replicas {
		c.nodes = append(c.nodes, New(tb, opts...))
	}
	tb.Cleanup(func() {
		if err := c.Client().Close(); err != nil {
			tb.Errorf("redistest: close the cluster's client: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(tb.Context(), clusterTimeout)
	defer cancel()
	if err := c.join(ctx); err != nil {
		tb.Fatalf("redistest: cluster: %v", err)
	}
	return c
}

// Nodes are the servers of the cluster, for tests that stop one: the initial masters,
// then their replicas.
func (c *Cluster) Nodes() []*Server {
	return c.nodes
}

// Addrs are the host:port of all nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, 0, len(c.nodes))
	for _, node := range c.nodes {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// URL is the cluster's address in the form of REDIS_URL, with the password if it
// has one.
func (c *Cluster) URL() string {
	u := url.URL{Scheme: "redis-cluster", Host: strings.Join(c.Addrs(), ",")}
	if password := c.nodes[0].conf.password; password != "" {
		u.User = url.UserPassword("", password)
	}
	return u.String()
}

// Client is the test's client, which is closed with the cluster.
func (c *Cluster) Client() *redis.ClusterClient {
	c.clientOnce.Do(func() {
		c.client = redis.NewClusterClient(&redis.ClusterOptions{
			Addrs:           c.Addrs(),
			Password:        c.nodes[0].conf.password,
			DisableIdentity: true,
			// A dead node tells nobody who has taken its place.
			ClusterStateReloadInterval: time.Second,
			MaintNotificationsConfig: &maintnotifications.Config{
				Mode: maintnotifications.ModeDisabled,
			},
		})
	})
	return c.client
}

// join assigns the slots, introduces the nodes to each other and waits until all
// agree.
func (c *Cluster) join(ctx context.Context) error {
	per := (slots + c.masters - 1) / c.masters
	for i, node := range c.nodes[:c.masters] {
		// With different epochs no node has to resolve a conflict of epochs first.
		if err := node.Client().Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return fmt.Errorf("set the epoch: %w", err)
		}
		low, high := i*per, min((i+1)*per, slots)-1
		if err := node.Client().ClusterAddSlotsRange(ctx, low, high).Err(); err != nil {
			return fmt.Errorf("add slots: %w", err)
		}
	}
	first := c.nodes[0]
	for _, node := range c.nodes[1:] {
		// The bus port is not the default one, so MEET must name it.
		if err := node.Client().Do(ctx, "CLUSTER", "MEET", "127.0.0.1", first.port, first.busPort).Err(); err != nil {
			return fmt.Errorf("meet: %w", err)
		}
	}
	if err := c.waitOK(ctx); err != nil {
		return err
	}
	return c.replicate(ctx)
}

// replicate makes the further nodes replicas of the masters, one of each.
func (c *Cluster) replicate(ctx context.Context) error {
	for i, replica := range c.nodes[c.masters:] {
		id, err := c.nodes[i].Client().Do(ctx, "CLUSTER", "MYID").Text()
		if err != nil {
			return fmt.Errorf("ask for the master's ID: %w", err)
		}
		if err := replica.Client().ClusterReplicate(ctx, id).Err(); err != nil {
			return fmt.Errorf("replicate: %w", err)
		}
		if err := replica.waitInfo(ctx, "replication", "role:slave", "master_link_status:up"); err != nil {
			return err
		}
	}
	return nil
}

// MasterOf is the node that has the slot of a key.
func (c *Cluster) MasterOf(tb testing.TB, key string) *Server {
	tb.Helper()
	master, err := c.Client().MasterForKey(tb.Context(), key)
	if err != nil {
		tb.Fatalf("redistest: find the master of a key: %v", err)
	}
	for _, node := range c.nodes {
		if node.Addr() == master.Options().Addr {
			return node
		}
	}
	tb.Fatalf("redistest: %s is none of the nodes", master.Options().Addr)
	return nil
}

// WaitFailover waits, after the end of a master, until each of the other nodes sees a
// replica in its place.
func (c *Cluster) WaitFailover(tb testing.TB, old *Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), clusterTimeout)
	defer cancel()
	for _, node := range c.nodes {
		if node == old {
			continue
		}
		if err := node.waitClusterOK(ctx, len(c.nodes)); err != nil {
			tb.Fatalf("redistest: cluster: %v", err)
		}
		err := poll(ctx, func() (bool, error) {
			// CLUSTER SHARDS names failed masters, too.
			shards, err := node.Client().ClusterSlots(ctx).Result() //nolint:staticcheck // deprecated
			named := slices.ContainsFunc(shards, func(s redis.ClusterSlot) bool {
				return s.Nodes[0].Addr == old.Addr()
			})
			return !named, err
		})
		if err != nil {
			tb.Fatalf("redistest: wait for a replica in the place of %s: %v", old.Addr(), err)
		}
	}
}

// WaitReplicated waits, after a restart, until every node reports cluster_state:ok and
// each replica follows its master.
func (c *Cluster) WaitReplicated(tb testing.TB) {
	tb.Helper()
	c.WaitOK(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), clusterTimeout)
	defer cancel()
	var masters, linked int
	// All at once: a node that returns takes itself for a master until it hears otherwise.
	err := poll(ctx, func() (bool, error) {
		masters, linked = 0, 0
		for _, node := range c.nodes {
			info, err := node.Client().Info(ctx, "replication").Result()
			switch {
			case err != nil:
				return false, err
			case strings.Contains(info, "role:master"):
				masters++
			case strings.Contains(info, "master_link_status:up"):
				linked++
			}
		}
		return masters == c.masters && masters+linked == len(c.nodes), nil
	})
	if err != nil {
		tb.Fatalf("redistest: wait for %d masters: %d, and %d replicas that follow: %v", c.masters, masters, linked, err)
	}
}

// Replicas is how many replicas each master has.
func (c *Cluster) Replicas() int {
	return len(c.nodes)/c.masters - 1
}

// Epoch grows with each failover.
func (c *Cluster) Epoch(tb testing.TB) int {
	tb.Helper()
	epoch := 0
	for _, node := range c.nodes {
		info, err := node.Client().ClusterInfo(tb.Context()).Result()
		if err != nil {
			tb.Fatalf("redistest: ask for the epoch: %v", err)
		}
		epoch = max(epoch, number(info, "cluster_current_epoch"))
	}
	return epoch
}

// number is a value of a reply to INFO; 0 if it has none.
func number(info, name string) int {
	_, value, _ := strings.Cut(info, name+":")
	n, _ := strconv.Atoi(value[:max(0, strings.IndexByte(value, '\r'))])
	return n
}

// WaitOK waits, after the restart of a node, until every node reports
// cluster_state:ok. It fails the test if that takes too long.
func (c *Cluster) WaitOK(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), clusterTimeout)
	defer cancel()
	if err := c.waitOK(ctx); err != nil {
		tb.Fatalf("redistest: cluster: %v", err)
	}
}

func (c *Cluster) waitOK(ctx context.Context) error {
	for _, node := range c.nodes {
		if err := node.waitClusterOK(ctx, len(c.nodes)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) waitClusterOK(ctx context.Context, nodes int) error {
	want := []string{
		"cluster_state:ok\r\n",
		"cluster_slots_ok:" + strconv.Itoa(slots) + "\r\n",
		"cluster_known_nodes:" + strconv.Itoa(nodes) + "\r\n",
	}
	var info string
	err := poll(ctx, func() (bool, error) {
		var err error
		if info, err = s.Client().ClusterInfo(ctx).Result(); err != nil {
			return false, err
		}
		for _, line := range want {
			if !strings.Contains(info, line) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait for cluster_state:ok: %w; the node reports: %s", err, info)
	}
	return nil
}

// poll calls check every 20 ms until it reports done or ctx ends. Servers that fail over,
// or wait for the processor, answer with errors meanwhile; only the last one is returned.
func poll(ctx context.Context, check func() (done bool, err error)) error {
	for {
		done, err := check()
		if done && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
