package broker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/testwait"
)

// running starts a worker with one slot whose tasks wait for the test.
func (r *rig) running(owner string, change ...func(*broker.Config)) (s *broker.Server, handled <-chan *broker.Claim, contexts <-chan context.Context) {
	r.t.Helper()
	claims, ctxs := make(chan *broker.Claim, 100), make(chan context.Context, 100)
	cfg := r.config(owner)
	cfg.Queues = map[string]int{queue: 1}
	release := make(chan struct{})
	cfg.Handle = func(ctx context.Context, c *broker.Claim) {
		claims <- c
		ctxs <- ctx
		<-release
	}
	cfg.Grace = 100 * time.Millisecond
	for _, c := range change {
		c(&cfg)
	}
	s = r.newServer(cfg)
	if err := s.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		close(release)
		s.Shutdown()
	})
	return s, claims, ctxs
}

// A task is claimed only when a slot is free, so that no more are claimed than run.
func TestNoMoreTasksAreTakenThanRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, handled, _ := r.running("w1")
	first, second := r.enqueue().ID, r.enqueue().ID
	if c := <-handled; c.ID != first {
		t.Errorf("took %s", c.ID)
	}
	select {
	case c := <-handled:
		t.Errorf("took %s, too", c.ID)
	case <-time.After(500 * time.Millisecond):
	}
	if says := r.asynqSays(second); says != "pending" {
		t.Errorf("the second is %s", says)
	}
}

// What is claimed ahead has a free slot to wait for: others may run what has none.
func TestNoMoreTasksAreTakenAheadThanRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const slots, n = 64, 200
	for range n {
		r.enqueue()
	}
	s, handled, _ := r.running("w1", func(c *broker.Config) { c.Queues[queue] = slots })
	for range slots {
		<-handled
	}
	if active := r.rdb.LLen(t.Context(), "asynq:{otp}:active").Val(); active != slots {
		t.Errorf("%d tasks are taken, %d run", active, slots)
	}
	s.Shutdown()
	if pending := r.rdb.LLen(t.Context(), "asynq:{otp}:pending").Val(); pending != n {
		t.Errorf("%d tasks are pending after the stop, want all %d", pending, n)
	}
	r.check()
}

// late has the answer to the second take come late. The first one has Redis learn the
// script, so that it is no call by a digest that succeeds.
type late struct {
	once   sync.Once
	second chan struct{} // Redis has answered the second take
	answer chan struct{}
}

func (*late) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *late) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		digest, _ := cmd.Args()[min(1, len(cmd.Args())-1)].(string)
		if err == nil && broker.StepOf(digest) == "take" {
			h.once.Do(func() {
				close(h.second)
				<-h.answer
			})
		}
		return err
	}
}

// A worker is told to stop while the answer to a question that it asked ahead is under
// way: what that claims goes back, without an attempt.
func TestAStopPutsBackWhatWasTakenAhead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const slots, n = 64, 100
	for range n {
		r.enqueue()
	}
	h := &late{second: make(chan struct{}), answer: make(chan struct{})}
	s, _, _ := r.running("w1", func(c *broker.Config) {
		c.Queues[queue] = slots
		c.Redis.AddHook(h)
	})
	<-h.second
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Shutdown()
	}()
	testwait.Eventually(t, testwait.Limit, "the worker stops", s.Stopping)
	close(h.answer)
	<-stopped
	if got := r.rdb.LLen(t.Context(), "asynq:{otp}:pending").Val(); got != n {
		t.Errorf("%d tasks are pending, want all %d", got, n)
	}
	for _, id := range r.rdb.LRange(t.Context(), "asynq:{otp}:pending", 0, -1).Val() {
		if got := r.field(id, "attempts") + r.field(id, "crashes"); got != "" {
			t.Errorf("%s has spent an attempt", id)
		}
	}
	r.check()
}

// A free slot waits for a task instead of asking now and then, and so a task starts when
// it arrives, whatever the queue's pace is.
func TestATaskStartsWhenItArrives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, handled, _ := r.running("w1", func(c *broker.Config) {
		c.Intervals = func(string) (poll, delay time.Duration) { return time.Hour, time.Hour }
	})
	testwait.Eventually(t, testwait.Limit, "the worker waits", func() bool { return r.commands("blmove") > 0 })
	id := r.enqueue().ID
	select {
	case c := <-handled:
		if c.ID != id {
			t.Errorf("took %s", c.ID)
		}
	case <-time.After(20 * time.Second):
		t.Error("it has not started")
	}
}

// Somebody cancels a task that runs, with asynq's tools. The handler goes on, and what
// comes of it counts.
func TestAsynqCancelsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, handled, contexts := r.running("w1")
	id := r.enqueue().ID
	c, ctx := <-handled, <-contexts
	testwait.Eventually(t, testwait.Limit, "asynq's servers listen", func() bool {
		return r.rdb.PubSubNumSub(t.Context(), "asynq:cancel").Val()["asynq:cancel"] > 0
	})
	if err := r.asynq.CancelProcessing(id); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Error(err)
	}
	r.end(c, ended(record.Done))
	if ctx.Err() != nil {
		t.Errorf("the handler's context: %v", ctx.Err())
	}
	if got := r.get(id); got.Outcome != record.Done || r.asynqSays(id) != "completed" {
		t.Errorf("record = %+v, asynq says %s", got, r.asynqSays(id))
	}
	r.check()
}

// asynq's tools, and so the web UI, see what the slots run, and not its payload.
func TestAsynqsToolsSeeWhatRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, handled, _ := r.running("w1", func(c *broker.Config) { c.Queues["anna"] = 3 })
	id := r.enqueue().ID
	<-handled
	var mine *asynq.ServerInfo
	testwait.Eventually(t, testwait.Limit, "asynq's inspector shows the task", func() bool {
		servers, err := r.asynq.Servers()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range servers {
			if s.Queues[queue] > 0 {
				mine = s
			} else if len(s.ActiveWorkers) > 0 {
				t.Errorf("the server of %v runs %v", s.Queues, s.ActiveWorkers)
			}
		}
		return mine != nil && len(mine.ActiveWorkers) > 0
	})
	shown := mine.ActiveWorkers[0]
	if len(mine.ActiveWorkers) != 1 || shown.TaskID != id || shown.TaskType != sample().Type || shown.Queue != queue || len(shown.TaskPayload) > 0 {
		t.Errorf("it shows %+v", shown)
	}
	if mine.Status != "active" || mine.Concurrency != 1 || shown.Deadline.Sub(shown.Started) != time.Minute || time.Since(shown.Started) > testwait.Limit {
		t.Errorf("it shows %+v of %+v", shown, mine)
	}
}

// The claim's clock begins when the task is taken, not when the slot asked.
func TestAClaimsClockBeginsWhenTheTaskIsTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, handled, _ := r.running("w1")
	testwait.Eventually(t, testwait.Limit, "the worker has waited for two seconds", func() bool {
		return r.commands("blmove") > 2
	})
	r.enqueue()
	c := <-handled
	if now := c.Now(); now.After(r.now().Add(1500 * time.Millisecond)) {
		t.Errorf("by the claim's clock it is %v, by Redis' %v", now, r.now())
	}
}

// asynq's recoverer looks for leases that have ended when a server starts, and would
// run their tasks again; it is told that there are none.
func TestAsynqRecoversNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue().ID
	c := r.takeAs("w2")
	if err := r.store.Heartbeat(t.Context(), "w2"); err != nil {
		t.Fatal(err)
	}
	r.rdb.ZAdd(t.Context(), "asynq:{otp}:lease", redis.Z{Score: 1, Member: id})
	_, handled, _ := r.running("w1")
	next := r.enqueue().ID
	if got := <-handled; got.ID != next {
		t.Errorf("took %s", got.ID)
	}
	if says := r.asynqSays(id); says != "active" || r.field(id, "owner") != "w2" {
		t.Errorf("asynq says %s, the owner is %s", says, r.field(id, "owner"))
	}
	r.end(c, ended(record.Done))
	r.check()
}

// asynq's servers get no task, and so acknowledge none: a handler that leaves its claim
// open leaves the task active.
func TestAsynqRunsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	returned := make(chan string, 10)
	r.running("w1", func(c *broker.Config) {
		c.Handle = func(_ context.Context, c *broker.Claim) { returned <- c.ID }
	})
	first, second := r.enqueue().ID, r.enqueue().ID
	<-returned
	<-returned
	if says := r.asynqSays(first); says != "active" || r.field(first, "owner") != "w1" {
		t.Errorf("asynq says %s of %s, then came %s", says, first, second)
	}
	if n := r.rdb.Exists(t.Context(), "asynq:{otp}:processed").Val(); n != 0 {
		t.Error("asynq has counted it")
	}
	r.check()
}

// A panic over a task leaves the worker and its other tasks alone, and counts as the death
// of the worker: the third one ends the task.
func TestAPanicEndsItsTaskAtTheThirdTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	verdicts := make(chan broker.Verdict, 10)
	var panicked atomic.Int32
	r.running("w1", func(c *broker.Config) {
		c.Handle = func(_ context.Context, c *broker.Claim) {
			if c.Type == "panic" && c.Verdict == broker.Run {
				panicked.Add(1)
				panic("over " + c.ID)
			}
			if err := c.End(ended(record.Failed)); err != nil {
				t.Errorf("end: %v", err)
			}
			verdicts <- c.Verdict
		}
	})
	id := r.enqueue(func(j *broker.Job) { j.Type = "panic" }).ID
	if v := <-verdicts; v != broker.Crashed || panicked.Load() != 3 {
		t.Errorf("the verdict is %s after %d panics", v, panicked.Load())
	}
	if got := r.get(id); got.Outcome != record.Failed {
		t.Errorf("the record: %+v", got)
	}
	r.enqueue()
	if v := <-verdicts; v != broker.Run {
		t.Errorf("the next task has the verdict %s", v)
	}
	r.check()
}

// What has not started when the worker stops goes back to the head of the queue.
func TestAStopPutsBackWhatHasNotStarted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, handled, _ := r.running("w1")
	first, second := r.enqueue().ID, r.enqueue().ID
	c := <-handled
	s.Shutdown()
	if got := r.rdb.LRange(t.Context(), "asynq:{otp}:pending", 0, -1).Val(); len(got) != 2 || got[1] != first || got[0] != second {
		t.Errorf("pending: %v, want %s before %s", got, first, second)
	}
	r.check()
	if err := c.Start(t.Context()); !errors.Is(err, record.ErrStale) {
		t.Errorf("the handler that is left behind may start: %v", err)
	}
}

// A worker that stops, and waits for its tasks, does not count as one that runs its queue.
func TestAWorkerThatStopsDoesNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, handled, _ := r.running("w1", func(c *broker.Config) { c.Grace = testwait.Limit })
	r.enqueue()
	c := <-handled
	running := func() int {
		workers, err := broker.LiveWorkers(t.Context(), r.rdb)
		if err != nil {
			t.Fatal(err)
		}
		return workers.Running[queue]
	}
	testwait.Eventually(t, testwait.Limit, "the worker counts", func() bool { return running() == 1 })
	go s.Shutdown()
	testwait.Eventually(t, testwait.Limit, "the worker does not count any more", func() bool { return running() == 0 })
	r.end(c, ended(record.Done))
}

// Redis has gone silent. A stop leaves behind what waits for it, and cuts it off, so that it
// ends soon after: each part of asynq would wait for a minute and more.
func TestAStopCutsOffASilentRedis(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		cut  bool
	}{{"with connections to cut", true}, {"without", false}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			target, err := redisconn.Parse(r.redis.URL())
			if err != nil {
				t.Fatal(err)
			}
			var cuts atomic.Int32
			s, _, _ := r.running("w1", func(c *broker.Config) {
				servers, cutServers := target.OpenTracked(redisconn.Servers, nil)
				general, cutGeneral := target.OpenTracked(redisconn.General, nil)
				c.Redis, c.General = servers, general
				if tc.cut {
					c.Cut = func() { cuts.Add(1); cutServers(); cutGeneral() }
				}
			})
			testwait.Eventually(t, testwait.Limit, "the worker waits", func() bool { return r.commands("blmove") > 0 })
			r.redis.Pause()
			defer r.redis.Resume()
			began := time.Now()
			s.Shutdown()
			if took := time.Since(began); took > 3*time.Second { // the grace is short
				t.Errorf("the stop took %v", took)
			}
			if !tc.cut {
				return
			}
			testwait.Eventually(t, 8*time.Second, "what was left behind ends", s.Drained)
			if n := cuts.Load(); n != 1 {
				t.Errorf("the connections were cut %d times", n)
			}
		})
	}
}

// A stop while Redis answers cuts nothing off.
func TestAStopCutsNothingOffThatAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var cuts atomic.Int32
	s, handled, _ := r.running("w1", func(c *broker.Config) { c.Cut = func() { cuts.Add(1) } })
	r.enqueue()
	<-handled
	s.Shutdown()
	if n := cuts.Load(); n != 0 || !s.Drained() {
		t.Errorf("the connections were cut %d times, drained: %v", n, s.Drained())
	}
}

// asynq's forwarder has our script forward what is due, by Redis' clock, of both sets.
func TestAsynqForwardsByOurScript(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	retried := r.enqueue().ID
	r.end(r.take(), again(50*time.Millisecond))
	scheduled := r.enqueue(func(j *broker.Job) { j.In = 100 * time.Millisecond }).ID
	_, handled, _ := r.running("w1", func(c *broker.Config) {
		c.Queues = map[string]int{queue: 2}
		c.Intervals = func(string) (poll, delay time.Duration) { return 0, 20 * time.Millisecond }
	})
	got := map[string]bool{}
	for range 2 {
		c := <-handled
		got[c.ID] = true
		if c.Now().Before(c.Due) {
			t.Errorf("%s started at %v, and is due at %v", c.ID, c.Now(), c.Due)
		}
	}
	if !got[retried] || !got[scheduled] {
		t.Errorf("started %v", got)
	}
	r.check()
}

// A worker that waits asks for a task again only when one may have come, and for delayed
// ones once in a while, with one script for both sets.
func TestAWorkerThatWaitsAsksLittle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	waits := &waits{ended: make(chan struct{}, 100)}
	_, handled, _ := r.running("w1", func(c *broker.Config) {
		c.Redis = r.client(waits)
		c.Intervals = func(string) (poll, delay time.Duration) { return 0, time.Hour }
	})
	for range 2 {
		<-waits.ended
	}
	if takes, forwards := waits.takes.Load(), waits.forwards.Load(); takes != 1 || forwards > 1 {
		t.Errorf("it asked %d times for a task and %d times for delayed ones", takes, forwards)
	}
	id := r.enqueue().ID
	if c := <-handled; c.ID != id {
		t.Errorf("took %s, want %s", c.ID, id)
	}
}

// waits tells of each wait for a task that ended without one, and counts the questions.
type waits struct {
	takes, forwards atomic.Int32
	ended           chan struct{}
}

func (*waits) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*waits) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *waits) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "blmove" && errors.Is(err, redis.Nil) {
			h.ended <- struct{}{}
		}
		if cmd.Name() == "evalsha" {
			digest, _ := cmd.Args()[1].(string)
			switch broker.StepOf(digest) {
			case "take":
				h.takes.Add(1)
			case "forward":
				h.forwards.Add(1)
			}
		}
		return err
	}
}

// Redis came back empty: the queue, and the format of the records, are registered again.
func TestAQueueIsRegisteredAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue()
	if err := r.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	r.enqueue() // whose client registers nothing any more
	if queues := r.rdb.SMembers(t.Context(), "asynq:queues").Val(); len(queues) != 0 {
		t.Errorf("asynq's client has registered %v again", queues)
	}
	r.running("w1")
	testwait.Eventually(t, testwait.Limit, "a worker has registered the queue", func() bool {
		return r.rdb.SIsMember(t.Context(), "asynq:queues", queue).Val() && r.format() == broker.Format
	})
}

// Of tasks that nobody waits for, nothing is published.
func TestNothingIsPublishedToNobody(t *testing.T) {
	t.Parallel()
	const n = 10_000
	r := newRig(t)
	var done atomic.Int32
	all := make(chan struct{})
	cfg := r.config("w1")
	cfg.Queues = map[string]int{queue: 50}
	cfg.Handle = func(_ context.Context, c *broker.Claim) {
		if err := c.End(ended(record.Done)); err != nil {
			t.Errorf("end: %v", err)
		}
		if done.Add(1) == n {
			close(all)
		}
	}
	s := r.newServer(cfg)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	var producers sync.WaitGroup
	for range 20 {
		producers.Go(func() {
			for range n / 20 {
				if _, err := r.producer.Enqueue(t.Context(), sample()); err != nil {
					t.Errorf("enqueue: %v", err)
				}
			}
		})
	}
	producers.Wait()
	<-all
	s.Shutdown()
	if published := r.commands("publish"); published != 0 {
		t.Errorf("%d messages for %d tasks that nobody waits for", published, n)
	}
}
