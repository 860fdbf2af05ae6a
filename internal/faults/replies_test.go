package faults

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Single replies of every script that moves a task are lost after Redis has
// carried the script out, the producers' as well as the workers'. Each is asked
// again, and that changes nothing.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	d := dice(t)
	front := newProxy(t) // the producers', and the way of every worker
	c := newCrew(t, fleet.Options{Env: map[string]string{"REDIS_URL": front.url()}})
	front.aim(c.Redis.Addr())
	c.Start(3)
	lost := newLoss(front, rand.New(rand.NewPCG(d.Uint64(), 1)), 0.15)
	// Some calls fail, so that asynq's retry is among the replies.
	c.AnnA.Inject(sandbox.Fault{Op: annatest.OpInactivate, Status: 503, Times: 20})
	for range fleet.Size(1, 15) { // not all at once: a passcode would expire in the queue
		c.each(60)
		c.finish(soon, tasks.Done)
		c.forget()
	}
	front.put(nil)
	counts := lost.counts()
	for _, what := range []step{create, enqueue, take, claim, finish, ack} {
		if counts[what] == 0 {
			t.Errorf("no reply of %s was lost", what)
		}
	}
	table(t, "lost replies of", counts)
	c.StopAll()
}

// Redis does not answer claims, however often it is asked, though it has written
// them: the tasks are run all the same, because the worker that has the claim
// has called nobody.
func TestClaimsWithoutAReply(t *testing.T) {
	t.Parallel()
	c := newCrew(t, fleet.Options{})
	hired := c.hire(1)[0]
	c.warmUp()
	silent := hired.link.hold(claim, true, other)
	ids := c.each(4)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	// All the tries of one claim are in vain: the client's own, and more.
	if err := silent.wait(ctx, func(tried map[string]int, _ []string) bool {
		return len(tried) == len(ids) && slices.Min(slices.Collect(maps.Values(tried))) >= 4
	}); err != nil {
		t.Fatal(err)
	}
	silent.lose()
	c.finish(soon, tasks.Done)
	c.StopAll()
}

// loss drops single replies: of one step of one task at most every other one.
type loss struct {
	mu    sync.Mutex
	dice  *rand.Rand
	share float64
	last  map[string]bool // step and task: its last reply was lost
	lost  map[step]int
}

func newLoss(p *proxy, d *rand.Rand, share float64) *loss {
	l := &loss{
		dice:  d,
		share: share,
		last:  map[string]bool{},
		lost:  map[step]int{},
	}
	p.put(func(c *command, reply []byte) fate {
		if reply != nil && l.loses(c, reply) {
			return l.how()
		}
		return pass
	})
	return l
}

func (l *loss) loses(c *command, reply []byte) bool {
	what, id := c.step()
	if what == other || reply[0] == '-' || what == take && reply[0] == '_' {
		return false // an error, or nothing taken: nothing was done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := string(what) + " " + id
	if l.last[key] || l.dice.Float64() >= l.share {
		delete(l.last, key)
		return false
	}
	l.last[key] = true
	l.lost[what]++
	return true
}

// how a reply is lost: mostly with its connection, sometimes in silence, so that
// the client has to wait for its time to be up.
func (l *loss) how() fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dice.IntN(8) == 0 {
		return mute
	}
	return cut
}

func (l *loss) counts() map[step]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.lost)
}
