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

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// Options set up a Site. The zero value is one Redis without persistence, and
// sealing.
type Options struct {
	// Redis are the options of the server, or of each node.
	Redis []redistest.Option
	// Nodes makes it a Redis Cluster of so many.
	Nodes int
	// AnnA are the sandbox's options. The account is the Site's own.
	AnnA annatest.Options
	// OTP are the sandbox's options. The login is the Site's own.
	OTP danaconnecttest.Options
	// DCKAP are the sandbox's options. The credentials are the Site's own.
	DCKAP dckaptest.Options
	// Dinero are the sandbox's options. Client and keys are the Site's own.
	Dinero dinerotest.Options
	// Organizations is how many organizations have a key at Dinero, by default one.
	Organizations int
	// Env are settings of every worker, over the Site's own. WORKER_QUEUES names
	// otp, anna and polls; a test of other vendors names theirs.
	Env map[string]string
	// Unsealed leaves ENCRYPTION_KEYS out.
	Unsealed bool
}

// Site is Redis, the vendors' sandboxes, a producer and any number of worker
// processes. Its methods that fail end the test, so they are for its goroutine;
// those that enqueue may be called from others.
type Site struct {
	// Redis is nil with a cluster, and Cluster without one.
	Redis   *redistest.Server
	Cluster *redistest.Cluster
	OTP     *danaconnecttest.Sandbox
	AnnA    *annatest.Sandbox
	DCKAP   *dckaptest.Sandbox
	Dinero  *dinerotest.Sandbox
	// Client is the producer.
	Client *tasks.Client
	// Canary is part of every secret and every personal value of the site.
	Canary string

	tb            testing.TB
	settings      map[string]string
	organizations []string
	traffic       *traffic
	sealed        bool

	mu        sync.Mutex
	processes []*Process
	sent      map[string]queue.Payload // by task ID
	next      int
}

// New builds a site without workers. The test ends all of it.
func New(tb testing.TB, o Options) *Site {
	tb.Helper()
	s := &Site{
		tb:      tb,
		Canary:  "cnry" + strings.ToLower(rand.Text()),
		sealed:  !o.Unsealed,
		traffic: &traffic{},
		sent:    map[string]queue.Payload{},
	}
	s.settings = s.openVendors(o)
	maps.Copy(
		s.settings,
		map[string]string{
			"REDIS_URL":     s.startRedis(o),
			"HTTP_ADDR":     "127.0.0.1:0",
			"WORKER_QUEUES": "otp=8,anna=8,polls=8",
		},
	)
	if s.sealed {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		s.settings["ENCRYPTION_KEYS"] = "k1:" + base64.StdEncoding.EncodeToString(key)
	}
	maps.Copy(s.settings, o.Env)

	client, err := tasks.Open(
		s.settings["REDIS_URL"],
		tasks.EncryptionKeys(s.settings["ENCRYPTION_KEYS"]),
	)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = client.Close()
	})
	s.Client = client
	tb.Cleanup(func() {
		for _, p := range s.Processes() {
			p.close()
		}
	})
	return s
}

func (s *Site) startRedis(o Options) (url string) {
	if o.Nodes > 0 {
		s.Cluster = redistest.NewCluster(s.tb, o.Nodes, o.Redis...)
		return s.Cluster.URL()
	}
	s.Redis = redistest.New(s.tb, o.Redis...)
	return s.Redis.URL()
}

// Conn is the test's own connection to Redis.
func (s *Site) Conn() redis.UniversalClient {
	if s.Cluster != nil {
		return s.Cluster.Client()
	}
	return s.Redis.Client()
}

// Settings are those that a worker is started with, for a test that runs one in
// its own process.
func (s *Site) Settings() map[string]string {
	return maps.Clone(s.settings)
}

// Start starts n workers and returns when all of them take tasks. env are
// settings of these alone, as NAME=value.
func (s *Site) Start(n int, env ...string) []*Process {
	s.tb.Helper()
	merged := maps.Clone(s.settings)
	maps.Copy(merged, settings.Environ(env))
	var pairs []string
	for name, value := range merged {
		pairs = append(pairs, name+"="+value)
	}
	var started []*Process
	for range n {
		s.mu.Lock()
		name := fmt.Sprintf("worker-%d", len(s.processes)+1)
		s.mu.Unlock()
		p, err := start(s.tb, name, pairs)
		if err != nil {
			s.tb.Fatal(err)
		}
		s.mu.Lock()
		s.processes = append(s.processes, p)
		s.mu.Unlock()
		started = append(started, p)
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), readyTimeout)
	defer cancel()
	for _, p := range started {
		if err := p.ready(ctx); err != nil {
			s.tb.Fatal(err)
		}
	}
	return started
}

// Processes are all that were ever started, in that order.
func (s *Site) Processes() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.processes)
}

// StopAll stops all processes that still run, together, and wants exit code 0
// of each.
func (s *Site) StopAll() {
	s.tb.Helper()
	var running []*Process
	for _, p := range s.Processes() {
		if p.alive() {
			p.Terminate()
			running = append(running, p)
		}
	}
	for _, p := range running {
		if code := p.Stop(); code != 0 {
			s.tb.Errorf("%s ended with exit code %d", p.Name, code)
		}
	}
}

// Holder is the process that is working on a task right now, as the task's
// record says; nil if nobody is. The process may be dead.
func (s *Site) Holder(id string) *Process {
	s.tb.Helper()
	owner := s.field(id, "owner")
	for _, p := range s.Processes() {
		// An owner is host, process id and something random.
		if parts := strings.Split(owner, "-"); len(parts) >= 3 &&
			parts[len(parts)-2] == fmt.Sprint(p.Pid()) {
			return p
		}
	}
	return nil
}

// WaitHolders waits until each of the processes is working on one of the tasks.
func (s *Site) WaitHolders(limit time.Duration, ids []string, processes ...*Process) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), limit)
	defer cancel()
	for {
		busy := map[*Process]bool{}
		for _, id := range ids {
			busy[s.Holder(id)] = true
		}
		idle := slices.DeleteFunc(
			slices.Clone(processes),
			func(p *Process) bool { return busy[p] },
		)
		if len(idle) == 0 {
			return
		}
		if !pause(ctx) {
			s.tb.Fatalf(
				"within %v %d of %d processes took none of the tasks",
				limit,
				len(idle),
				len(processes),
			)
		}
	}
}

// field reads one field of a task's record.
func (s *Site) field(id, name string) string {
	s.tb.Helper()
	text, err := s.Conn().HGet(s.tb.Context(), recordKey(id), name).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.tb.Fatalf("read %s of %s: %v", name, id, err)
	}
	return text
}
