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
	l := h.newLosses(h.Sentinel)
	h.startUnproxied(3)
	h.warmUp()
	replace := []func(){h.demoteMaster, h.killMaster, h.freezeMaster}
	for i := range fleet.Size(1, 10) {
		l.round(replace[i%len(replace)])
	}
	l.finish()
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
			l := h.newLosses(h.Cluster)
			h.startUnproxied(3)
			h.warmUp()
			for _, queue := range fleet.Size(loadQueues[:1], loadQueues) {
				l.round(func() {
					master := h.Cluster.MasterOf(t, "{"+queue+"}")
					master.Kill()
					if tc.replicated {
						h.Cluster.WaitFailover(t, master)
					}
					master.Start()
				})
			}
			l.finish()
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

// servers are masters with replicas, some of which may replace them.
type servers interface {
	// WaitReplicated waits until all servers but the masters are replicas.
	WaitReplicated(tb testing.TB)
	Replicas() int
	Epoch(tb testing.TB) int
}

// losses tells which tasks failovers may lose. Each mark says how many tasks every
// replica has by then. Only a task that was enqueued between two marks between which a
// failover took place may be lost, whether the test brought it about or not: on a
// machine that is busy enough, sentinels take a master for dead that only waits for its
// turn.
type losses struct {
	*harness
	servers servers
	safe    int // of h.tasks, at the latest mark
	epoch   int // at that time
	losable map[string]bool
}

func (h *harness) newLosses(s servers) *losses {
	h.t.Helper()
	return &losses{harness: h, servers: s, epoch: s.Epoch(h.t), losable: map[string]bool{}}
}

// round replaces a master under load. The load ends before the mark: what the old master
// has confirmed is then among h.tasks.
func (l *losses) round(replace func()) {
	l.t.Helper()
	stop := l.startLoad(20 * time.Millisecond)
	l.waitBusy(20) // workers and producers have followed the latest master
	l.mark()
	replace()
	// Some may go on with the old master for a while. It confirms until it is a replica.
	l.waitBusy(20)
	stop()
	l.mark()
}

// mark waits until no master but the latest takes writes, and the replicas have all that
// was enqueued.
func (l *losses) mark() {
	l.t.Helper()
	l.servers.WaitReplicated(l.t)
	enqueued := len(l.tasks())
	l.waitWritten()
	// Whatever a failover has lost until now, it shows in the epoch by now: a server
	// becomes another's replica only after that.
	if epoch := l.servers.Epoch(l.t); epoch != l.epoch {
		for _, id := range l.tasks()[l.safe:enqueued] {
			l.losable[id] = true
		}
		l.epoch = epoch
	}
	l.safe = enqueued
}

// waitWritten waits until the replicas have all that was written before.
func (l *losses) waitWritten() {
	l.t.Helper()
	replicas := l.servers.Replicas()
	wait := func(ctx context.Context, c *redis.Client) error {
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
	ctx := limitContext(l.t)
	var err error
	written := testwait.Poll(waitLimit, func() bool {
		if l.Cluster != nil {
			err = l.Cluster.Client().ForEachMaster(ctx, wait)
		} else {
			err = wait(ctx, l.Sentinel.Client())
		}
		return err == nil
	})
	if !written {
		l.t.Fatalf("wait until all is replicated: %v", err)
	}
}

// finish is the harness's without the tasks that failovers have lost, which must be
// among the losable ones, and have no second effect either. More of each kind show that
// producers and workers have followed the last master.
func (l *losses) finish() {
	l.t.Helper()
	l.enqueueEach(20)
	l.mark()
	var kept []string
	lost := 0
	for _, id := range l.tasks() {
		_, err := l.Client.Status(l.t.Context(), id)
		switch {
		case !errors.Is(err, tasks.ErrNotFound):
			kept = append(kept, id)
			continue
		case !l.losable[id]:
			l.t.Errorf("%s is lost, although every replica had it, or no failover has taken place since", id)
		}
		lost++
		repeatable := l.KindOf(id) == l.Updates || l.KindOf(id) == l.Reads
		if n := l.EffectsOf(id); n > 1 && !repeatable {
			l.t.Errorf("%s is lost and has had %d effects", id, n)
		}
	}
	l.t.Logf("%d of %d tasks are lost, of %d that were not replicated for certain", lost, len(l.tasks()), len(l.losable))
	l.finishTasks(waitLimit, kept, tasks.Done, tasks.Expired)
}
