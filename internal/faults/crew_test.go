package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/fleet"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

// lookEvery is the pause between two looks at Redis where nothing tells of a
// change.
const lookEvery = 50 * time.Millisecond

// queues are those of the tasks that the suite enqueues.
var queues = []string{"otp", "anna", "polls"}

// crew is a site whose workers each reach Redis through a proxy of their own,
// and that remembers what it has enqueued.
type crew struct {
	*fleet.Site
	t *testing.T

	mu      sync.Mutex
	jobs    []*job
	byID    map[string]*job
	workers []*worker
}

type worker struct {
	*fleet.Process
	link *proxy
}

// job is one task that was enqueued.
type job struct {
	id      string
	subject string // who the vendor sees
	settled bool   // seen ended, and not looked at any more
	hands   []hand
}

// hand says that the task was in the hand of a worker when that was killed.
type hand struct {
	at    point
	fence string // of the claim, if there was one
}

func newCrew(t *testing.T, o fleet.Options) *crew {
	t.Helper()
	return &crew{Site: fleet.New(t, o), t: t, byID: map[string]*job{}}
}

// hire starts n workers. env are settings of these alone, as NAME=value.
func (c *crew) hire(n int, env ...string) []*worker {
	c.t.Helper()
	var hired []*worker
	for range n {
		link := newProxy(c.t)
		link.aim(c.Redis.Addr())
		p := c.Start(1, append([]string{"REDIS_URL=" + link.url()}, env...)...)[0]
		hired = append(hired, &worker{p, link})
	}
	c.workers = append(c.workers, hired...)
	return hired
}

// send, leave and read each enqueue a task on somebody new; options as the
// Site's own.
func (c *crew) send(opts ...tasks.Option) string {
	p := c.NewOTPSend()
	return c.note(p.Values[0].Value, p, opts)
}

func (c *crew) leave(opts ...tasks.Option) string {
	user := c.User()
	return c.note(user, tasks.UserInactivate{UserID: user}, opts)
}

func (c *crew) read(opts ...tasks.Option) string {
	user := c.User()
	return c.note(user, tasks.MessengerAlerts{MessengerUser: tasks.MessengerUser{UserID: user}}, opts)
}

// note enqueues a task and remembers it.
func (c *crew) note(subject string, p queue.Payload, opts []tasks.Option) string {
	id := c.Enqueue(p, opts...)
	j := &job{id: id, subject: subject}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs, c.byID[id] = append(c.jobs, j), j
	return id
}

// load enqueues a task of each kind every so often until stop is called.
func (c *crew) load(every time.Duration) (stop func()) {
	var stops []func() []string
	for _, enqueue := range []func(...tasks.Option) string{c.send, c.leave, c.read} {
		stops = append(stops, c.Load(every, enqueue))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// each enqueues n tasks of each kind.
func (c *crew) each(n int) (ids []string) {
	for _, enqueue := range []func(...tasks.Option) string{c.send, c.leave, c.read} {
		ids = append(ids, c.Many(n, enqueue)...)
	}
	return ids
}

// warmUp gives every worker a token and a proven password.
func (c *crew) warmUp() {
	c.t.Helper()
	for _, w := range c.workers {
		for kind, enqueue := range map[string]func(...tasks.Option) string{"danaconnect:otp:send": c.send, "anna:messenger:alerts": c.read} {
			for n := 0; !w.Finished(kind) && n < 100; n++ {
				c.Wait(soon, c.Many(20, enqueue))
			}
		}
	}
}

// all are the IDs of everything enqueued so far.
func (c *crew) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]string, len(c.jobs))
	for i, j := range c.jobs {
		ids[i] = j.id
	}
	return ids
}

// forget leaves what was enqueued so far out of later checks.
func (c *crew) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs = nil
	clear(c.byID)
}

// job finds a task by its ID.
func (c *crew) job(id string) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id]
}

// claims are the tasks that have not ended and whose claim the process holds,
// with the fence of each.
func (c *crew) claims(p *fleet.Process) map[string]string {
	c.t.Helper()
	c.mu.Lock()
	open := slices.DeleteFunc(slices.Clone(c.jobs), func(j *job) bool { return j.settled })
	c.mu.Unlock()
	ctx := context.WithoutCancel(c.t.Context())
	replies, err := c.Conn().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, j := range open {
			pipe.HMGet(ctx, recordKey(j.id), "owner", "fence", "outcome")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		c.t.Fatalf("read the claims: %v", err)
	}
	held := map[string]string{}
	for i, reply := range replies {
		fields := reply.(*redis.SliceCmd).Val()
		owner, _ := fields[0].(string)
		// An owner is host, process id and something random.
		if parts := strings.Split(owner, "-"); len(parts) >= 3 && parts[len(parts)-2] == fmt.Sprint(p.Pid()) {
			held[open[i].id], _ = fields[1].(string)
		}
		open[i].settled = fields[2] != nil
	}
	return held
}

func recordKey(id string) string {
	name, _ := ledger.QueueOf(id) // a wrong one leads to no record
	return "errand:{" + name + "}:task:" + id
}

// ofEachQueue reports whether there is one of each queue among the tasks.
func ofEachQueue(ids []string) bool {
	found := map[string]bool{}
	for _, id := range ids {
		name, _ := ledger.QueueOf(id)
		found[name] = true
	}
	return len(found) == len(queues)
}

// await looks until ok, or ends the test.
func (c *crew) await(limit time.Duration, what string, ok func() bool) {
	c.t.Helper()
	if !until(c.t, limit, ok) {
		c.t.Fatalf("not within %v: %s", limit, what)
	}
}

func until(t *testing.T, limit time.Duration, ok func() bool) bool {
	t.Helper()
	end := time.NewTimer(limit)
	defer end.Stop()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-end.C:
			return false
		}
	}
	return true
}
