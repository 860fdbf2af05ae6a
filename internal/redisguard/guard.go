// Package redisguard reads whether a Redis can be trusted with tasks: that it
// never evicts keys, keeps them over a restart, is new enough, is a master, and
// is near. The doctor prints what it finds; a worker refuses to start on a
// Redis that evicts.
//
// It sends INFO, CONFIG GET, TIME and PING, and changes nothing.
package redisguard

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Level says how a check came out.
type Level string

// The levels. Warn: tasks run, but a promise is weaker or could not be checked.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// The names of the findings, in their order.
const (
	Reachable   = "reachable"
	Version     = "version"
	Role        = "role"
	Eviction    = "eviction"
	Persistence = "persistence"
	Clock       = "clock"
	Latency     = "latency"
)

// Finding is one thing that was looked at.
type Finding struct {
	Level Level
	Name  string
	// Seen is what was found. It holds no password.
	Seen string
	// Fix is what to do about it, a command or a setting; "" if nothing is to be
	// done.
	Fix string
}

// Report is all findings about one Redis, of a cluster about all its masters:
// one for each name. A Redis that does not answer has Reachable alone.
type Report struct {
	Findings []Finding
}

// Find returns the finding of that name.
func (r Report) Find(name string) (Finding, bool) {
	for _, f := range r.Findings {
		if f.Name == name {
			return f, true
		}
	}
	return Finding{}, false
}

// Answered reports whether Redis answered; a cluster: each of its masters.
func (r Report) Answered() bool {
	f, found := r.Find(Reachable)
	return found && f.Level == OK
}

// EvictionError says that Redis may drop keys when its memory is full, and with
// them tasks, records and claims.
type EvictionError struct{ Finding Finding }

// Error implements error, with the fix.
func (e *EvictionError) Error() string {
	return "Redis would drop tasks when its memory is full: " + e.Finding.Seen + "; " + e.Finding.Fix
}

// Refusal is an *EvictionError if tasks are not safe in this Redis, else nil. A
// policy that could not be read is no refusal.
func (r Report) Refusal() error {
	if f, found := r.Find(Eviction); found && f.Level == Fail {
		return &EvictionError{f}
	}
	return nil
}

// Check reads all but Clock and Latency: one round trip to each master. ctx
// bounds it.
func Check(ctx context.Context, rdb redis.UniversalClient) Report {
	return examine(ctx, rdb, func(context.Context, *redis.Client) []Finding {
		return nil
	})
}

// Inspect is Check with Clock and Latency, measured with some fifteen round
// trips to each master. now is the local clock.
func Inspect(
	ctx context.Context,
	rdb redis.UniversalClient,
	now func() time.Time,
) Report {
	return examine(ctx, rdb, func(ctx context.Context, node *redis.Client) []Finding {
		return measure(ctx, node, now)
	})
}

// node is what one server said.
type node struct {
	addr     string
	err      error // it did not answer
	findings []Finding
}

func examine(
	ctx context.Context,
	rdb redis.UniversalClient,
	more func(context.Context, *redis.Client) []Finding,
) Report {
	ask := func(ctx context.Context, c *redis.Client, cluster bool) node {
		n := node{addr: c.Options().Addr}
		f, err := readFacts(ctx, c)
		if err != nil {
			n.err = err
			return n
		}
		n.findings = append(f.judge(cluster), more(ctx, c)...)
		return n
	}
	switch client := rdb.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex
		var nodes []node
		err := client.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			n := ask(ctx, c, true)
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, n)
			return nil
		})
		if err != nil || len(nodes) == 0 {
			return Report{[]Finding{unreachable(err)}}
		}
		return merge(nodes)
	case *redis.Client:
		n := ask(ctx, client, false)
		if n.err != nil {
			return Report{[]Finding{unreachable(n.err)}}
		}
		return Report{append([]Finding{{OK, Reachable, "answers", ""}}, n.findings...)}
	}
	panic("redisguard: redisconn makes no other kind of client")
}
