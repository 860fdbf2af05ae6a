package faults

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Single replies of every script that moves a task are lost after Redis has executed
// the script, those to producers as well as those to workers. The client repeats the
// script, which changes nothing.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	shared := newProxy(t) // of the producer and of all workers
	h := newHarness(t, fleet.Options{Env: map[string]string{"REDIS_URL": shared.url()}})
	h.kinds = append(h.kinds, h.Invoices)
	shared.setTarget(h.Redis.Addr())
	h.Start(3)
	dropper := newReplyDropper(shared, rand.New(rand.NewPCG(r.Uint64(), 1)), 0.15)
	// Some calls fail, so that asynq's retry is among the replies.
	h.Updates.Inject(sandbox.Fault{Status: 503, Times: 20})
	for range fleet.Size(1, 15) { // in batches, because passcodes would expire in a long queue
		h.enqueueEach(60)
		h.finish(waitLimit, tasks.Done)
		h.skip()
	}
	shared.setInterceptor(nil)
	counts := dropper.counts()
	for _, what := range []step{enqueue, take, start, end} {
		if counts[what] == 0 {
			t.Errorf("no reply of %s was lost", what)
		}
	}
	logCounts(t, "lost replies of", counts)
	h.StopAll()
}

// Redis writes claims but does not answer them, however often the worker asks. The
// tasks run all the same, because the worker that has the claim has not called
// the vendor.
func TestClaimsWithoutAReply(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{})
	h.kinds = append(h.kinds, h.Invoices)
	w := h.startWorkers(1)[0]
	h.warmUp()
	claims := w.proxy.hold(take, afterRedis)
	ids := h.enqueueEach(4)
	// All tries of a claim fail: the client's own retries, and the worker's.
	if err := claims.wait(limitContext(t), func(tries map[string]int) bool {
		return len(tries) == len(ids) && slices.Min(slices.Collect(maps.Values(tries))) >= 4
	}); err != nil {
		t.Fatal(err)
	}
	claims.drop()
	h.finish(waitLimit, tasks.Done)
	h.checkFirstCall(ids)
	h.StopAll()
}

// Redis does not answer that calls start, however often the worker asks, and for
// longer than a call may take. Whether it has written that or not, nothing was sent,
// and the tasks run later.
func TestStartsWithoutAReply(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]holdTime{"not written": beforeRedis, "written": afterRedis} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, fleet.Options{Env: fleet.Timeouts(time.Second)})
			h.kinds = []*fleet.Kind{h.Passcodes, h.Invoices}
			w := h.startWorkers(1)[0]
			h.warmUp()
			starts := w.proxy.hold(start, when)
			ids := h.enqueueEach(4)
			if err := starts.wait(limitContext(t), func(tries map[string]int) bool {
				return len(tries) == len(ids) && slices.Min(slices.Collect(maps.Values(tries))) >= 2
			}); err != nil {
				t.Fatal(err)
			}
			starts.drop()
			h.finish(waitLimit, tasks.Done)
			for _, id := range h.ofKind(ids, h.Passcodes) {
				if n := h.CallsOf(id); n != 1 {
					t.Errorf("%d calls for %s", n, id)
				}
			}
			h.StopAll()
		})
	}
}

// replyDropper drops single replies, never two in a row of one step of one task.
type replyDropper struct {
	share float64 // of the replies

	mu      sync.Mutex
	rand    *rand.Rand
	last    map[string]bool // by step and task: the last reply was dropped
	dropped map[step]int
}

func newReplyDropper(p *proxy, r *rand.Rand, share float64) *replyDropper {
	d := &replyDropper{
		share:   share,
		rand:    r,
		last:    map[string]bool{},
		dropped: map[step]int{},
	}
	p.setInterceptor(func(c *command, reply []byte) action {
		if reply != nil && d.drops(c, reply) {
			return d.how()
		}
		return pass
	})
	return d
}

func (d *replyDropper) drops(c *command, reply []byte) bool {
	what, ids := c.step()
	if what == other || refused(reply) || what == take && len(takenTasks(reply)) == 0 {
		return false // an error, or no task to take: nothing has changed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := string(what) + " " + strings.Join(ids, " ")
	if d.last[key] || d.rand.Float64() >= d.share {
		delete(d.last, key)
		return false
	}
	d.last[key] = true
	d.dropped[what]++
	return true
}

// how decides how a reply is lost: usually with its connection, sometimes without a
// sign, so that the client runs into its timeout.
func (d *replyDropper) how() action {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rand.IntN(8) == 0 {
		return stall
	}
	return disconnect
}

func (d *replyDropper) counts() map[step]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.dropped)
}
