package faults

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/fleet"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// pair is two Redis servers: the harness's is the master, the other its replica.
// Producer and workers reach the master through proxies.
type pair struct {
	*harness
	producer *proxy
	replica  *redistest.Server
}

func newPair(t *testing.T) *pair {
	t.Helper()
	producer := newProxy(t)
	h := newHarness(t, fleet.Options{
		Redis: []redistest.Option{redistest.Config("repl-diskless-sync-delay", "0")},
		Env:   map[string]string{"REDIS_URL": producer.url()},
	})
	h.kinds = []*fleet.Kind{h.Passcodes}
	producer.setTarget(h.Redis.Addr())
	p := &pair{
		harness:  h,
		producer: producer,
		replica:  redistest.New(t, redistest.Config("repl-diskless-sync-delay", "0")),
	}
	p.follow()
	return p
}

// follow makes the replica follow the master, and waits until it does.
func (p *pair) follow() {
	p.t.Helper()
	host, port, err := net.SplitHostPort(p.Redis.Addr())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.replica.Client().ReplicaOf(p.t.Context(), host, port).Err(); err != nil {
		p.t.Fatal(err)
	}
	testwait.Eventually(p.t, waitLimit, "the replica follows the master", func() bool {
		return strings.Contains(p.replica.Client().Info(p.t.Context(), "replication").Val(), "master_link_status:up")
	})
}

// sendInTheLastSecond has the workers send n passcodes whose claims the replica does not
// get any more: it is promoted while they are pending, with the queue paused. answered
// says that they end, too; else release lets the vendor answer.
func (p *pair) sendInTheLastSecond(n int, answered bool) (ids []string, release func()) {
	p.t.Helper()
	ctx := limitContext(p.t)
	release = func() {}
	if !answered {
		release = p.Passcodes.HoldAnswer().Release
	}
	before := p.Passcodes.Effects()
	p.Conn().Set(ctx, otpPaused, 1, 0)
	ids = p.EnqueueMany(n, p.Passcodes)
	testwait.Eventually(p.t, waitLimit, "the replica has the tasks", func() bool {
		return p.replica.Client().LLen(ctx, otpPending).Val() == int64(n)
	})
	if err := p.replica.Client().ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		p.t.Fatal(err)
	}
	p.Conn().Del(ctx, otpPaused)
	if err := p.Passcodes.WaitEffects(ctx, before+n); err != nil {
		p.t.Fatal(err)
	}
	if answered {
		p.Wait(waitLimit, ids)
	}
	return ids, release
}

// swap makes the promoted replica the master for the producer.
func (p *pair) swap() {
	p.t.Helper()
	p.Redis, p.replica = p.replica, p.Redis
	p.producer.redirect(p.Redis.Addr())
}

// begin has the new master give out the tasks, which are pending there once more.
func (p *pair) begin(ids []string) {
	p.t.Helper()
	ctx := limitContext(p.t)
	if n := p.Conn().LLen(ctx, otpPending).Val(); n != int64(len(ids)) {
		p.t.Fatalf("the new master has %d pending tasks, want %d: it has lost nothing", n, len(ids))
	}
	p.Conn().Del(ctx, otpPaused)
}

// waitTaken waits until no task is pending.
func (p *pair) waitTaken() {
	p.t.Helper()
	ctx := limitContext(p.t)
	testwait.Eventually(p.t, waitLimit, "the tasks are taken again", func() bool {
		return p.Conn().LLen(ctx, otpPending).Val() == 0
	})
}

// checkOneCall asserts that each task is done with one call.
func (p *pair) checkOneCall(ids []string) {
	p.t.Helper()
	p.finish(waitLimit, tasks.Done)
	for _, id := range ids {
		if n := p.CallsOf(id); n != 1 {
			p.t.Errorf("%d calls for %s: %s", n, id, p.examples([]string{id}, tasks.Done))
		}
	}
}

// The master changes to its replica, back, and once more, and each time the new one lacks
// what the old one was told last: passcodes that were being sent, or were sent, are
// pending again. Each is sent once.
func TestFailbackSendsNothingTwice(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.startWorkers(2)
	p.warmUp()
	p.skip()
	var all []string
	for i := range 3 { // A to B, to A, to B
		const n = 10
		ids, release := p.sendInTheLastSecond(n, i == 1)
		defer release()
		all = append(all, ids...)
		p.swap()
		p.begin(ids)
		for _, w := range p.workers {
			w.proxy.redirect(p.Redis.Addr())
		}
		p.waitTaken()
		p.follow()
		release()
		p.Wait(waitLimit, ids)
	}
	p.checkOneCall(all)
	p.StopAll()
}

// A worker that starts a moment after a promotion, before the others have found the new
// master, does not send what they are sending. That Redis itself was started long before
// makes no difference.
func TestAWorkerStartsAfterAPromotion(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	old := p.startWorkers(1)[0]
	p.warmUp()
	p.skip()
	testwait.Eventually(t, waitLimit, "the replica was not started a moment ago", func() bool {
		info := redisconn.ParseInfo(p.replica.Client().Info(t.Context(), "server").Val())
		uptime, err := strconv.Atoi(info["uptime_in_seconds"])
		return err == nil && uptime > 6
	})
	const n = 5
	ids, release := p.sendInTheLastSecond(n, false)
	defer release()
	old.proxy.redirect(unused)
	p.swap()
	p.begin(ids)
	p.startWorkers(1)
	p.waitTaken()
	// What a worker needs to notice is a part of the time that the other waits.
	fleet.Elapse(t, 500*time.Millisecond)
	old.proxy.redirect(p.Redis.Addr())
	testwait.Eventually(t, waitLimit, "the first worker has its tasks back", func() bool {
		for _, id := range ids {
			if p.Owner(id) != old.Process {
				return false
			}
		}
		return true
	})
	release()
	p.checkOneCall(ids)
	p.StopAll()
}

const (
	otpPaused  = "asynq:{otp}:paused" // asynq's switch
	otpPending = "asynq:{otp}:pending"
	// unused is an address where nobody listens.
	unused = "127.0.0.1:1"
)
