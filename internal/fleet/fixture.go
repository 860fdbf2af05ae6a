package fleet

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// Options configure a Fixture. The zero value means one Redis without persistence,
// sandboxes with the demo's data, and sealed payloads.
type Options struct {
	// Redis are the options of the server, or of each node.
	Redis []redistest.Option
	// Nodes is the number of masters of a Redis Cluster; 0 means a single server.
	Nodes int
	// Sentinels is the number of sentinels that watch a master and its two replicas; 0
	// means none.
	Sentinels int
	// Replicated gives each master of the cluster a replica.
	Replicated bool
	// Sandboxes make sandboxes that replace those of the same path. Every secret of
	// theirs must contain the canary.
	Sandboxes []func(canary string) sandbox.Vendor
	// Env are settings of every worker. They take precedence over those of the
	// Fixture.
	Env map[string]string
	// Unsealed leaves ENCRYPTION_KEYS out.
	Unsealed bool
}

// Fixture is Redis, the vendors' sandboxes, a producer and any number of worker
// processes. Methods that may fail the test belong in its goroutine, except those
// that enqueue, which any goroutine may call.
type Fixture struct {
	// Redis, Cluster or Sentinel: the others are nil.
	Redis    *redistest.Server
	Cluster  *redistest.Cluster
	Sentinel *redistest.Sentinel
	// Sandboxes are the vendors; sandbox.Find finds one.
	Sandboxes sandbox.Vendors
	Kinds
	// Client is the producer.
	Client *tasks.Client
	// Canary is part of every secret and every personal value.
	Canary string

	tb       testing.TB
	settings map[string]string
	traffic  *traffic

	mu        sync.Mutex
	kinds     map[string]*Kind // by task type
	processes []*Process
	payloads  map[string]tasks.Payload // by task ID
	enqueued  []string                 // task IDs in their order
	next      int
}

// New returns a fixture without workers. The test stops all of it when it ends.
func New(tb testing.TB, o Options) *Fixture {
	tb.Helper()
	canary := "cnry" + strings.ToLower(rand.Text())
	f := &Fixture{
		tb:        tb,
		Canary:    canary,
		Sandboxes: newSandboxes(canary, o.Sandboxes),
		traffic:   newTraffic(),
		kinds:     map[string]*Kind{},
		payloads:  map[string]tasks.Payload{},
	}
	f.settings = f.serveSandboxes()
	f.addKinds()
	maps.Copy(f.settings, map[string]string{
		"REDIS_URL":     f.startRedis(o),
		"HTTP_ADDR":     "127.0.0.1:0",
		"WORKER_QUEUES": Queues(),
	})
	if !o.Unsealed {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		f.settings["ENCRYPTION_KEYS"] = "k1:" + base64.StdEncoding.EncodeToString(key)
	}
	maps.Copy(f.settings, o.Env)
	f.Client = f.NewClient()
	tb.Cleanup(func() {
		for _, p := range f.Processes() {
			p.close()
		}
	})
	return f
}

// NewClient returns another producer, which the test closes.
func (f *Fixture) NewClient() *tasks.Client {
	f.tb.Helper()
	client, err := tasks.Open(
		f.settings["REDIS_URL"],
		tasks.EncryptionKeys(f.settings["ENCRYPTION_KEYS"]),
	)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() {
		_ = client.Close()
	})
	return client
}

func (f *Fixture) startRedis(o Options) (url string) {
	switch {
	case o.Sentinels > 0:
		sentinels := redistest.SentinelOptions{Replicas: 2, Sentinels: o.Sentinels}
		f.Sentinel = redistest.NewSentinel(f.tb, sentinels, o.Redis...)
		return f.Sentinel.URL()
	case o.Replicated:
		f.Cluster = redistest.NewReplicatedCluster(f.tb, o.Nodes, o.Redis...)
		return f.Cluster.URL()
	case o.Nodes > 0:
		f.Cluster = redistest.NewCluster(f.tb, o.Nodes, o.Redis...)
		return f.Cluster.URL()
	}
	f.Redis = redistest.New(f.tb, o.Redis...)
	return f.Redis.URL()
}

// Conn is the test's connection to Redis.
func (f *Fixture) Conn() redis.UniversalClient {
	switch {
	case f.Sentinel != nil:
		return f.Sentinel.Client()
	case f.Cluster != nil:
		return f.Cluster.Client()
	}
	return f.Redis.Client()
}

// Start starts n workers and returns when all of them take tasks. env are settings
// of these workers only, as NAME=value.
func (f *Fixture) Start(n int, env ...string) []*Process {
	f.tb.Helper()
	merged := maps.Clone(f.settings)
	maps.Copy(merged, settings.Environ(env))
	var pairs []string
	for name, value := range merged {
		pairs = append(pairs, name+"="+value)
	}
	var started []*Process
	for range n {
		f.mu.Lock()
		name := fmt.Sprintf("worker-%d", len(f.processes)+1)
		f.mu.Unlock()
		p, err := start(f.tb, name, pairs)
		if err != nil {
			f.tb.Fatal(err)
		}
		f.mu.Lock()
		f.processes = append(f.processes, p)
		f.mu.Unlock()
		started = append(started, p)
	}
	ctx, cancel := context.WithTimeout(f.tb.Context(), readyTimeout)
	defer cancel()
	for _, p := range started {
		if err := p.waitReady(ctx); err != nil {
			f.tb.Fatal(err)
		}
	}
	return started
}

// Processes returns all processes that were started, in this order.
func (f *Fixture) Processes() []*Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.processes)
}

// StopAll stops all running processes at once, and fails the test unless each exits
// with code 0 and what they leave behind passes CheckQueues.
func (f *Fixture) StopAll() {
	f.tb.Helper()
	f.StopProcesses()
	f.CheckQueues()
}

// StopProcesses is StopAll without a look at Redis, which may be away.
func (f *Fixture) StopProcesses() {
	f.tb.Helper()
	var running []*Process
	for _, p := range f.Processes() {
		if p.process.Alive() {
			p.Terminate()
			running = append(running, p)
		}
	}
	for _, p := range running {
		if code := p.Stop(); code != 0 {
			f.tb.Errorf("%s ended with exit code %d", p.Name, code)
		}
	}
}

// Owner returns the process that works on a task according to the task's record,
// nil if there is none. The process may be dead.
func (f *Fixture) Owner(id string) *Process {
	f.tb.Helper()
	owner, err := f.Conn().HGet(f.tb.Context(), RecordKey(id), "owner").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		f.tb.Fatalf("read the owner of %s: %v", id, err)
	}
	for _, p := range f.Processes() {
		if p.IsOwner(owner) {
			return p
		}
	}
	return nil
}

// WaitOwners waits until each of the processes works on one of the tasks that ids returns,
// which may become more.
func (f *Fixture) WaitOwners(limit time.Duration, ids func() []string, processes ...*Process) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(f.tb.Context(), limit)
	defer cancel()
	for {
		owners := map[*Process]bool{}
		for _, id := range ids() {
			owners[f.Owner(id)] = true
		}
		idle := slices.DeleteFunc(
			slices.Clone(processes),
			func(p *Process) bool { return owners[p] },
		)
		if len(idle) == 0 {
			return
		}
		if !pause(ctx) {
			f.tb.Fatalf(
				"after %v, %d of %d processes have none of the tasks",
				limit,
				len(idle),
				len(processes),
			)
		}
	}
}

// RecordKey is the key of a task's record in Redis.
func RecordKey(id string) string {
	name, _ := record.QueueOf(id) // an invalid ID leads to no record
	return "errand:{" + name + "}:task:" + id
}
