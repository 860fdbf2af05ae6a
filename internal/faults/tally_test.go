package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// finish waits for the end of everything enqueued, has it checked, and wants
// asynq to agree. want are the outcomes that may be.
func (c *crew) finish(limit time.Duration, want ...tasks.Outcome) fleet.Report {
	c.t.Helper()
	ids := c.all()
	c.Wait(limit, ids)
	c.settled(ids)
	report := c.Check(ids)
	for outcome, n := range report.Outcomes {
		if !slices.Contains(want, outcome) {
			c.t.Errorf("%d tasks ended %s: %s", n, outcome, c.examples(ids, outcome))
		}
	}
	sends := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, "otp-") })
	c.t.Logf("%d tasks, %d of them passcodes: %v, %d calls", len(ids), len(sends), report.Outcomes, report.Calls)
	return report
}

// settled waits until asynq has nothing left to do: every task of the queues is
// among the completed or the archived ones, none is held or forgotten.
func (c *crew) settled(ids []string) {
	c.t.Helper()
	inspector := asynq.NewInspectorFromRedisClient(c.Conn())
	end := time.Now().Add(time.Minute)
	for _, name := range queues {
		var left string
		ok := until(c.t, max(time.Until(end), time.Second), func() bool {
			info, err := inspector.GetQueueInfo(name)
			if err != nil {
				left = err.Error()
				return strings.Contains(left, "does not exist") &&
					!slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, name+"-") })
			}
			keys := c.Conn().Keys(c.t.Context(), "asynq:{"+name+"}:t:*").Val()
			lease := c.Conn().ZCard(c.t.Context(), "asynq:{"+name+"}:lease").Val()
			left = fmt.Sprintf(
				"%d pending, %d active, %d scheduled, %d retry, %d leases, %d completed, %d archived, %d tasks",
				info.Pending,
				info.Active,
				info.Scheduled,
				info.Retry,
				lease,
				info.Completed,
				info.Archived,
				len(keys),
			)
			return info.Pending+info.Active+info.Scheduled+info.Retry+int(lease) == 0 &&
				info.Completed+info.Archived == len(keys)
		})
		if !ok {
			c.t.Errorf("asynq's queue %s does not settle: %s%s", name, left, c.strays(name))
		}
	}
}

// strays are tasks of a queue that asynq has not put anywhere.
func (c *crew) strays(name string) string {
	ctx, base := c.t.Context(), "asynq:{"+name+"}:"
	var b strings.Builder
	for _, key := range c.Conn().Keys(ctx, base+"t:*").Val() {
		id := strings.TrimPrefix(key, base+"t:")
		state := c.Conn().HGet(ctx, key, "state").Val()
		where := []string{}
		for _, set := range []string{"lease", "scheduled", "retry", "completed", "archived"} {
			if c.Conn().ZScore(ctx, base+set, id).Err() == nil {
				where = append(where, set)
			}
		}
		for _, list := range []string{"pending", "active"} {
			if c.Conn().LPos(ctx, base+list, id, redis.LPosArgs{}).Err() == nil {
				where = append(where, list)
			}
		}
		if slices.Equal(where, []string{state}) || b.Len() > 2000 {
			continue
		}
		status, err := c.Client.Status(ctx, id)
		if err != nil {
			fmt.Fprintf(&b, "\n  %s: asynq says %s, is in %v; %v", id, state, where, err)
			continue
		}
		fmt.Fprintf(
			&b,
			"\n  %s: asynq says %s, is in %v; the record says %s %s",
			id,
			state,
			where,
			status.State,
			status.Outcome,
		)
	}
	return b.String()
}

// examples describes some of the tasks with an outcome.
func (c *crew) examples(ids []string, outcome tasks.Outcome) string {
	var b strings.Builder
	for _, id := range ids {
		status, err := c.Client.Status(c.t.Context(), id)
		if err != nil || status.Outcome != outcome || b.Len() > 2000 {
			continue
		}
		fmt.Fprintf(&b, "\n  %s %q, calls:", id, status.Message)
		for _, a := range status.History {
			fmt.Fprintf(&b, " [%s %s %v %q]", a.At.Format(time.TimeOnly), a.Class, a.Took, a.Message)
		}
	}
	return b.String()
}

// doneOnce wants every task done with its first and only call.
func (c *crew) doneOnce(ids []string) {
	c.t.Helper()
	if report := c.CheckDone(ids); report.Calls != len(ids) {
		c.t.Errorf("%d calls for %d tasks", report.Calls, len(ids))
	}
	for i, n := range c.Counted(ids) {
		if n != "1" {
			c.t.Errorf("%s spent %q attempts, want 1", ids[i], n)
		}
	}
}

// spread sums up how long something took.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(times))
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	return fmt.Sprintf(
		"%v least, %v median, %v most, of %d",
		round(sorted[0]),
		round(sorted[len(sorted)/2]),
		round(sorted[len(sorted)-1]),
		len(sorted),
	)
}

// table prints counts in a fixed order.
func table[K ~string, V any](t *testing.T, what string, counts map[K]V) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%s %-16s %v", what, key, counts[key])
	}
}
