package faults

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/fleet"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// Sentinels replace a master that crashes, is demoted by an operator or freezes, under
// load. A failover may lose what was enqueued and not replicated yet, and nothing else;
// whatever else the replica lacks, no effect that must not happen twice does.
func TestSentinelFailovers(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{Sentinels: 3})
	h.kinds = append(h.kinds, h.Invoices)
	h.startUnproxied(3)
	h.warmUp()
	stop := h.startLoad(20 * time.Millisecond)
	replace := []func(){h.demoteMaster, h.killMaster, h.freezeMaster}
	losable := map[string]bool{}
	for i := range fleet.Size(1, 10) {
		h.waitBusy(20)
		h.Sentinel.WaitReplicated(t)
		safe := h.waitReplicated()
		replace[i%len(replace)]()
		h.waitBusy(20) // the workers and the producers have followed
		for _, id := range h.tasks()[safe:] {
			losable[id] = true
		}
	}
	stop()
	h.finishAfterFailover(losable)
	h.StopAll()
}

func (h *harness) killMaster() {
	h.t.Helper()
	old := h.Sentinel.Master(h.t)
	old.Kill()
	h.Sentinel.WaitFailover(h.t, old)
	old.Start()
}

func (h *harness) demoteMaster() {
	h.t.Helper()
	h.Sentinel.Failover(h.t)
}

// freezeMaster has the old master return with the commands that it has not read.
func (h *harness) freezeMaster() {
	h.t.Helper()
	old := h.Sentinel.Master(h.t)
	old.Pause()
	h.Sentinel.WaitFailover(h.t, old)
	old.Resume()
}

// A master of a cluster dies under load. Without a replica its slots wait for its
// return, and nothing is lost; with one they go on without it, and what it had not
// replicated yet may be lost.
func TestClusterLosesAMaster(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		replicated bool
	}{
		{name: "that returns"},
		{name: "that a replica replaces", replicated: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := durable()
			o.Nodes, o.Replicated = 3, tc.replicated
			o.Redis = append(o.Redis, redistest.Config("cluster-node-timeout", "1000"))
			h := newHarness(t, o)
			h.kinds = append(h.kinds, h.Invoices)
			h.startUnproxied(3)
			h.warmUp()
			stop := h.startLoad(20 * time.Millisecond)
			losable := map[string]bool{}
			queues := fleet.Size(loadQueues[:1], loadQueues)
			for _, queue := range queues {
				h.waitBusy(20)
				master := h.Cluster.MasterOf(t, "{"+queue+"}")
				safe := len(h.tasks())
				if tc.replicated {
					safe = h.waitReplicated()
				}
				master.Kill()
				if tc.replicated {
					h.Cluster.WaitFailover(t, master)
				}
				master.Start()
				h.Cluster.WaitReplicated(t)
				h.waitBusy(20)
				for _, id := range h.tasks()[safe:] {
					losable[id] = tc.replicated
				}
			}
			stop()
			h.finishAfterFailover(losable)
			h.StopAll()
		})
	}
}

// startUnproxied starts n workers that reach Redis by the fixture's REDIS_URL.
func (h *harness) startUnproxied(n int) {
	h.t.Helper()
	for _, process := range h.Start(n) {
		h.workers = append(h.workers, &workerProcess{Process: process})
	}
}

// waitReplicated waits until the replicas have all that was enqueued, and returns how
// many of h.tasks these are.
func (h *harness) waitReplicated() (enqueued int) {
	h.t.Helper()
	enqueued = len(h.tasks())
	wait := func(ctx context.Context, c *redis.Client, replicas int) error {
		var reached *redis.Cmd
		_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Publish(ctx, "written-after-what-was-enqueued", "")
			reached = pipe.Do(ctx, "WAIT", replicas, 2000) // ms
			return nil
		})
		if err != nil {
			return err
		}
		n, err := reached.Int()
		if err == nil && n < replicas {
			err = fmt.Errorf("%d of %d replicas have all", n, replicas)
		}
		return err
	}
	ctx := limitContext(h.t)
	var err error
	replicated := testwait.Poll(waitLimit, func() bool {
		if h.Cluster != nil {
			err = h.Cluster.Client().ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
				return wait(ctx, c, 1)
			})
		} else {
			err = wait(ctx, h.Sentinel.Client(), len(h.Sentinel.Nodes())-1)
		}
		return err == nil
	})
	if !replicated {
		h.t.Fatalf("wait until all is replicated: %v", err)
	}
	return enqueued
}

// finishAfterFailover is finish without the tasks that failovers have lost, which must
// be among the losable ones, and have no second effect either.
func (h *harness) finishAfterFailover(losable map[string]bool) {
	h.t.Helper()
	var kept []string
	lost := 0
	for _, id := range h.tasks() {
		_, err := h.Client.Status(h.t.Context(), id)
		switch {
		case !errors.Is(err, tasks.ErrNotFound):
			kept = append(kept, id)
			continue
		case !losable[id]:
			h.t.Errorf("%s is lost, although every replica had it", id)
		}
		lost++
		repeatable := h.KindOf(id) == h.Updates || h.KindOf(id) == h.Reads
		if n := h.EffectsOf(id); n > 1 && !repeatable {
			h.t.Errorf("%s is lost and has had %d effects", id, n)
		}
	}
	h.t.Logf("%d of %d tasks are lost, of %d that were not replicated for certain", lost, len(h.tasks()), len(losable))
	h.finishTasks(waitLimit, kept, tasks.Done, tasks.Expired)
}
