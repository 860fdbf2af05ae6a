// Package redisguard checks whether a Redis is fit to hold tasks: it must not
// evict keys, must keep them over a restart, and must be new enough, a master
// and near. The doctor prints the findings; a worker refuses to start on a Redis
// that evicts.
//
// It sends INFO, CONFIG GET, TIME and PING. What it writes to see whether Redis
// takes it, errand:probe:… and asynq:…:probe, expires after 10 s.
package redisguard

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
)

// Level is the result of a check.
type Level string

// The levels. Warn: tasks run, but a promise is weaker or could not be checked.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// The names of the findings, in the order of a report.
const (
	Reachable   = "reachable"
	Version     = "version"
	Role        = "role"
	Eviction    = "eviction"
	Persistence = "persistence"
	Writable    = "writes"
	Clock       = "clock"
	Latency     = "latency"
)

// Finding is the result of one check.
type Finding struct {
	Level Level
	Name  string
	// Seen is what was found. It holds no password.
	Seen string
	// Fix is what to do about it, a command or a setting; "" if there is nothing to
	// do.
	Fix string
}

// Report holds one finding for each name, of a cluster about all its masters.
// If Redis does not answer, it holds Reachable alone.
type Report struct {
	Findings []Finding
	// cause is why Redis did not answer.
	cause error
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

// Answered reports whether Redis, or each master of a cluster, answered.
func (r Report) Answered() bool {
	f, found := r.Find(Reachable)
	return found && f.Level == OK
}

// EvictionError means that Redis may drop keys when its memory is full, and with
// them tasks, records and claims.
type EvictionError struct{ Finding Finding }

// Error implements error. The text includes the fix.
func (e *EvictionError) Error() string {
	return "Redis would drop tasks when its memory is full: " + e.Finding.Seen + "; " + e.Finding.Fix
}

// Refusal is an *EvictionError if tasks are not safe in this Redis, the reply of a
// Redis that has no database with the number in REDIS_URL, else nil. A policy that
// could not be read is no refusal.
func (r Report) Refusal() error {
	if redisconn.NoDatabase(r.cause) {
		return r.cause
	}
	if f, found := r.Find(Eviction); found && f.Level == Fail {
		return &EvictionError{f}
	}
	return nil
}

// Check reports all findings but Clock and Latency, with three round trips to each
// master.
func Check(ctx context.Context, rdb redis.UniversalClient) Report {
	return inspect(ctx, rdb, func(context.Context, *redis.Client) []Finding {
		return nil
	})
}

// Inspect is Check with Clock and Latency, which take about fifteen round trips
// to each master. now is the local clock.
func Inspect(ctx context.Context, rdb redis.UniversalClient, now func() time.Time) Report {
	return inspect(ctx, rdb, func(ctx context.Context, node *redis.Client) []Finding {
		return measure(ctx, node, now)
	})
}

// node is one server with its findings.
type node struct {
	addr     string
	err      error // why it did not answer
	findings []Finding
}

// inspect asks each server; extra adds findings to those of every report.
func inspect(
	ctx context.Context,
	rdb redis.UniversalClient,
	extra func(context.Context, *redis.Client) []Finding,
) Report {
	ask := func(ctx context.Context, c *redis.Client, cluster bool, tag string) node {
		n := node{addr: c.Options().Addr}
		f, err := readFacts(ctx, c)
		if err != nil {
			n.err = err
			return n
		}
		n.findings = append(f.judge(cluster), writes(c, probeOn(ctx, c, tag)))
		n.findings = append(n.findings, extra(ctx, c)...)
		return n
	}
	switch client := rdb.(type) {
	case *redis.ClusterClient:
		tags := clusterTags(ctx, client)
		var mu sync.Mutex
		var nodes []node
		err := client.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			n := ask(ctx, c, true, tags[c.Options().Addr])
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, n)
			return nil
		})
		if err != nil || len(nodes) == 0 {
			return Report{Findings: []Finding{unreachable(err)}, cause: err}
		}
		return merge(nodes)
	case *redis.Client:
		n := ask(ctx, client, false, probeID)
		if n.err != nil {
			return Report{Findings: []Finding{unreachable(n.err)}, cause: n.err}
		}
		return Report{Findings: append([]Finding{{OK, Reachable, "answers", ""}}, n.findings...)}
	}
	panic(fmt.Sprintf("redisguard: cannot ask a %T", rdb))
}
