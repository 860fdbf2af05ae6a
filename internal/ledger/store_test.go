package ledger_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/ledger"
	"errand.internal/internal/redistest"
)

func newStore(t *testing.T) (*ledger.Store, *redis.Client) {
	t.Helper()
	rdb := redistest.New(t).Client()
	return ledger.New(rdb), rdb
}

func sample() ledger.NewTask {
	return ledger.NewTask{
		Queue: "otp", Type: "a:b", Payload: []byte(`{"x":1}`),
		Usable: time.Minute, KeyLife: time.Hour,
	}
}

func claim(id string) ledger.Claim {
	return ledger.Claim{ID: id, Type: "a:b", Owner: "w1", For: 20 * time.Second, Expires: time.Now().Add(time.Hour)}
}

func create(t *testing.T, s *ledger.Store, n ledger.NewTask) ledger.Created {
	t.Helper()
	c, err := s.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func begin(t *testing.T, s *ledger.Store, c ledger.Claim, want ledger.Verdict) ledger.Grant {
	t.Helper()
	g, err := s.Begin(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if g.Verdict != want {
		t.Fatalf("Begin said %s, want %s", g.Verdict, want)
	}
	return g
}

func ended(o ledger.Outcome) ledger.Result {
	return ledger.Result{State: ledger.Ended, Outcome: o, Keep: time.Hour, Counted: true, Attempt: &ledger.Attempt{At: time.Now(), Class: string(o)}}
}

func TestLifeOfATask(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	c := create(t, s, sample())
	if c.Duplicate || !strings.HasPrefix(c.ID, "otp_") || c.Expires.Sub(c.Due) != time.Minute {
		t.Fatalf("Create = %+v", c)
	}
	g := begin(t, s, claim(c.ID), ledger.Go)
	if r, err := s.Get(t.Context(), c.ID); err != nil || r.State != ledger.Running {
		t.Fatalf("while running: %+v, %v", r, err)
	}
	if err := s.Finish(t.Context(), c.ID, g, ledger.Result{
		State: ledger.Retrying, Wait: time.Second, Counted: true, Code: "05", Message: "maintenance",
		Attempt: &ledger.Attempt{At: g.Now, Took: 120 * time.Millisecond, Class: "temporary", Code: "05", Status: 200},
	}); err != nil {
		t.Fatal(err)
	}
	g = begin(t, s, claim(c.ID), ledger.Go)
	if g.Attempts != 1 {
		t.Errorf("attempts = %d, want 1", g.Attempts)
	}
	done := ended(ledger.Done)
	done.Data = []byte(`{"idRequest":"251"}`)
	if err := s.Finish(t.Context(), c.ID, g, done); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != ledger.Ended || r.Outcome != ledger.Done || r.Attempts != 2 || string(r.Data) != `{"idRequest":"251"}` {
		t.Errorf("record = %+v", r)
	}
	if a := r.History[0]; a.Class != "temporary" || a.Code != "05" || a.Took != 120*time.Millisecond {
		t.Errorf("history = %+v", r.History)
	}
	again := begin(t, s, claim(c.ID), ledger.AlreadyEnded)
	if again.Outcome != ledger.Done {
		t.Errorf("a second copy sees %s", again.Outcome)
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	for _, tc := range []struct {
		name string
		prep func(t *testing.T, c *ledger.Claim)
		want ledger.Verdict
	}{
		{name: "expired", prep: func(_ *testing.T, c *ledger.Claim) { c.Expires = time.Now().Add(-time.Second) }, want: ledger.OutOfTime},
		{name: "lost record", prep: func(_ *testing.T, c *ledger.Claim) { rdb.Del(context.Background(), "errand:{otp}:task:"+c.ID) }, want: ledger.Lost},
		{name: "held by another", prep: func(t *testing.T, c *ledger.Claim) {
			other := *c
			other.Owner = "w2"
			begin(t, s, other, ledger.Go)
		}, want: ledger.Busy},
		{name: "held by a dead one", prep: func(t *testing.T, c *ledger.Claim) {
			other := *c
			other.Owner = "w2"
			begin(t, s, other, ledger.Go)
			c.DeadOwner = "w2"
		}, want: ledger.Abandoned},
		{name: "claim ran out", prep: func(t *testing.T, c *ledger.Claim) {
			other := *c
			other.Owner, other.For = "w2", 0
			begin(t, s, other, ledger.Go)
		}, want: ledger.Abandoned},
		{name: "claim ran out, repeatable", prep: func(t *testing.T, c *ledger.Claim) {
			other := *c
			other.Owner, other.For = "w2", 0
			begin(t, s, other, ledger.Go)
			c.Repeatable = true
		}, want: ledger.Go},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := claim(create(t, s, sample()).ID)
			tc.prep(t, &c)
			begin(t, s, c, tc.want)
		})
	}

	t.Run("early", func(t *testing.T) {
		n := sample()
		n.Delay = time.Hour
		g := begin(t, s, claim(create(t, s, n).ID), ledger.Early)
		if g.Wait < 59*time.Minute {
			t.Errorf("wait = %s", g.Wait)
		}
	})
}

func TestFinishIsFenced(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	c := claim(create(t, s, sample()).ID)
	c.Repeatable, c.For = true, 0
	late := begin(t, s, c, ledger.Go)
	c.Owner, c.For = "w2", time.Minute
	current := begin(t, s, c, ledger.Go)
	if err := s.Finish(t.Context(), c.ID, late, ended(ledger.Failed)); !errors.Is(err, ledger.ErrStale) {
		t.Errorf("the late one's Finish = %v, want ErrStale", err)
	}
	if err := s.Finish(t.Context(), c.ID, current, ended(ledger.Done)); err != nil {
		t.Errorf("the current one's Finish = %v", err)
	}
	if err := s.Finish(t.Context(), c.ID, late, ended(ledger.Failed)); !errors.Is(err, ledger.ErrStale) {
		t.Errorf("a second end = %v, want ErrStale", err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	keyed := sample()
	keyed.Key = "login-42"
	first := create(t, s, keyed)

	second := create(t, s, keyed)
	if !second.Duplicate || second.ID != first.ID || second.Started || !second.Due.Equal(first.Due) || !second.Expires.Equal(first.Expires) {
		t.Errorf("second = %+v, want a duplicate of %+v", second, first)
	}
	other := ledger.New(rdb) // another process, with a salt of its own to begin with
	if third := create(t, other, keyed); third.ID != first.ID {
		t.Errorf("another process got %s, want %s", third.ID, first.ID)
	}
	changed := keyed
	changed.Payload = []byte(`{"x":2}`)
	if _, err := s.Create(t.Context(), changed); !errors.Is(err, ledger.ErrKeyConflict) {
		t.Errorf("another payload: %v, want ErrKeyConflict", err)
	}
	otherType := keyed
	otherType.Type = "a:c"
	if got := create(t, s, otherType); got.Duplicate {
		t.Error("another type with the same key is another task")
	}
	begin(t, s, claim(first.ID), ledger.Go)
	if got := create(t, s, keyed); !got.Duplicate || !got.Started {
		t.Errorf("while it runs: %+v", got)
	}
}

func TestKeyAfterTheEnd(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	for outcome, free := range map[ledger.Outcome]bool{
		ledger.Done: false, ledger.Declined: false, ledger.Superseded: false, ledger.Unknown: false,
		ledger.Failed: true, ledger.Invalid: true, ledger.Expired: true, ledger.Cancelled: true,
	} {
		t.Run(string(outcome), func(t *testing.T) {
			keyed := sample()
			keyed.Key = "k-" + string(outcome)
			first := create(t, s, keyed)
			g := begin(t, s, claim(first.ID), ledger.Go)
			if err := s.Finish(t.Context(), first.ID, g, ended(outcome)); err != nil {
				t.Fatal(err)
			}
			got := create(t, s, keyed)
			if got.Duplicate == free {
				t.Fatalf("duplicate = %v after %s", got.Duplicate, outcome)
			}
			if free {
				return
			}
			// The key outlives the record, and still tells the outcome.
			rdb.Del(t.Context(), "errand:{otp}:task:"+first.ID)
			if got = create(t, s, keyed); got.ID != first.ID || got.Outcome != outcome || !got.Started {
				t.Errorf("with the record gone: %+v", got)
			}
		})
	}
}

func TestParallelProducersShareOneTask(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	keyed := sample()
	keyed.Key = "one"
	var mu sync.Mutex
	ids, fresh := map[string]bool{}, 0
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			c, err := s.Create(context.Background(), keyed)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			ids[c.ID] = true
			if !c.Duplicate {
				fresh++
			}
		})
	}
	all.Wait()
	if len(ids) != 1 || fresh != 1 {
		t.Errorf("%d tasks, %d of them new; want one", len(ids), fresh)
	}
}

func TestNothingPersonalInRedis(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	keyed := sample()
	keyed.Key, keyed.Payload = "canary-key-ana@example.com", []byte(`{"mail":"canary-payload"}`)
	create(t, s, keyed)
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 4 {
		t.Errorf("keys = %v, want record, key record, salt, sequence", keys)
	}
	for _, key := range keys {
		dump, err := rdb.Dump(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(key+dump, "canary") || strings.Contains(key+dump, "ana@") {
			t.Errorf("%s shows what it should hide", key)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	keyed := sample()
	keyed.Key = "c"
	fresh := create(t, s, keyed)
	if err := s.Cancel(t.Context(), fresh.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	begin(t, s, claim(fresh.ID), ledger.AlreadyEnded)
	if got := create(t, s, keyed); got.Duplicate {
		t.Error("a cancelled task must free its key")
	}
	tried := create(t, s, sample())
	g := begin(t, s, claim(tried.ID), ledger.Go)
	for _, state := range []string{"running", "retrying"} {
		started, ok := errors.AsType[*ledger.StartedError](s.Cancel(t.Context(), tried.ID, time.Hour))
		if !ok || started.State != state {
			t.Errorf("Cancel of a %s task = %v", state, started)
		}
		_ = s.Finish(t.Context(), tried.ID, g, ledger.Result{State: ledger.Retrying, Attempt: &ledger.Attempt{}})
	}
	parked := create(t, s, sample())
	g = begin(t, s, claim(parked.ID), ledger.Go)
	if err := s.Finish(t.Context(), parked.ID, g, ledger.Result{State: ledger.Parked, Wait: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := s.Cancel(t.Context(), parked.ID, time.Hour); err != nil {
		t.Errorf("a parked task was never attempted: %v", err)
	}
	if err := s.Cancel(t.Context(), "otp_nosuchtask", time.Hour); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("no such task: %v", err)
	}
	if err := s.Cancel(t.Context(), "rubbish", time.Hour); !errors.Is(err, ledger.ErrBadID) {
		t.Errorf("no ID: %v", err)
	}
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	w := ledger.NewWatcher(s)
	c := create(t, s, sample())
	type answer struct {
		record *ledger.Record
		err    error
	}
	answers := make(chan answer, 3)
	for range 3 {
		go func() {
			r, err := w.Wait(context.Background(), c.ID)
			answers <- answer{r, err}
		}()
	}
	g := begin(t, s, claim(c.ID), ledger.Go)
	if err := s.Finish(t.Context(), c.ID, g, ended(ledger.Declined)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a := <-answers; a.err != nil || a.record.Outcome != ledger.Declined {
			t.Errorf("Wait = %+v, %v", a.record, a.err)
		}
	}
	if r, err := w.Wait(t.Context(), c.ID); err != nil || r.Outcome != ledger.Declined {
		t.Errorf("after the end: %+v, %v", r, err)
	}
	if _, err := w.Wait(t.Context(), "otp_nosuchtask"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("no such task: %v", err)
	}
	open := create(t, s, sample())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := w.Wait(ctx, open.ID); !errors.Is(err, context.DeadlineExceeded) || r == nil || r.State != ledger.Pending {
		t.Errorf("a wait that times out: %+v, %v", r, err)
	}
}

// repeat sends every script twice, as go-redis does when a reply was lost.
type repeat struct{ redis.Hook }

func (repeat) DialHook(next redis.DialHook) redis.DialHook { return next }

func (repeat) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (repeat) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if name := cmd.Name(); name == "eval" || name == "evalsha" {
			if err := next(ctx, cmd); err != nil {
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	_, rdb := newStore(t)
	rdb.AddHook(repeat{})
	s := ledger.New(rdb)
	keyed := sample()
	keyed.Key = "once"
	c := create(t, s, keyed)
	if c.Duplicate {
		t.Error("Create took its own first try for another's")
	}
	g := begin(t, s, claim(c.ID), ledger.Go)
	if err := s.Finish(t.Context(), c.ID, g, ledger.Result{State: ledger.Retrying, Counted: true, Attempt: &ledger.Attempt{}}); err != nil {
		t.Error(err)
	}
	crashed := claim(c.ID)
	crashed.For = 0
	begin(t, s, crashed, ledger.Go)
	g = begin(t, s, claim(c.ID), ledger.Abandoned) // and not Go: the verdict stays
	if g.Attempts != 1 {
		t.Errorf("attempts = %d, want 1", g.Attempts)
	}
	if err := s.Finish(t.Context(), c.ID, g, ended(ledger.Unknown)); err != nil {
		t.Error(err)
	}
	if r, err := s.Get(t.Context(), c.ID); err != nil || r.Attempts != 2 || r.Outcome != ledger.Unknown {
		t.Errorf("record = %+v, %v", r, err)
	}
}

// TestAloneEndsWithItsTime: a task that never reached the queue does not keep
// the next one away for longer than it could have run; one that is there does.
func TestAloneEndsWithItsTime(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	alone := sample()
	alone.Alone, alone.Usable, alone.Held = "poll/u1", time.Millisecond, "asynq:{otp}:t:"
	first := create(t, s, alone)
	if err := rdb.HSet(t.Context(), "asynq:{otp}:t:"+first.ID, "state", "pending").Err(); err != nil {
		t.Fatal(err)
	}
	for now := first.Created; !now.After(first.Expires); {
		var err error
		if now, err = rdb.Time(t.Context()).Result(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Create(t.Context(), alone); !errors.Is(err, ledger.ErrAlreadyActive) {
		t.Errorf("while the queue holds it: %v, want ErrAlreadyActive", err)
	}
	if err := rdb.Del(t.Context(), "asynq:{otp}:t:"+first.ID).Err(); err != nil {
		t.Fatal(err)
	}
	create(t, s, alone)
}

// TestKeyLifeCounts: the key of a task that has ended is forgotten after its
// life, though it may have been kept longer while the task was under way.
func TestKeyLifeCounts(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	keyed := sample()
	keyed.Key, keyed.KeyLife = "k", time.Minute
	c := create(t, s, keyed)
	if err := s.Finish(t.Context(), c.ID, begin(t, s, claim(c.ID), ledger.Go), ended(ledger.Done)); err != nil {
		t.Fatal(err)
	}
	keys, err := rdb.Keys(t.Context(), "errand:{otp}:key:*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys = %v, %v", keys, err)
	}
	if left, err := rdb.PTTL(t.Context(), keys[0]).Result(); err != nil || left <= 0 || left > time.Minute {
		t.Errorf("the key lives for %s, want a minute at most (%v)", left, err)
	}
}

func TestAloneAndNotices(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	alone := sample()
	alone.Alone, alone.Notify = "poll/u1", true
	first := create(t, s, alone)
	if _, err := s.Create(t.Context(), alone); !errors.Is(err, ledger.ErrAlreadyActive) {
		t.Errorf("while the first is under way: %v, want ErrAlreadyActive", err)
	}
	other := alone
	other.Alone = "poll/u2"
	create(t, s, other)
	g := begin(t, s, claim(first.ID), ledger.Go)
	if err := s.Finish(t.Context(), first.ID, g, ended(ledger.Failed)); err != nil {
		t.Fatal(err)
	}
	create(t, s, alone)
	notices, err := s.PendingNotices(t.Context(), "otp", 10)
	if err != nil || len(notices) != 1 {
		t.Fatalf("notices = %v, %v", notices, err)
	}
	if n := notices[0]; n.ID != first.ID || n.Type != alone.Type || n.Outcome != ledger.Failed || n.Attempts != 1 || n.Ended.IsZero() {
		t.Errorf("notice = %+v", n)
	}
	if err := s.NoticeSent(t.Context(), "otp", first.ID); err != nil {
		t.Fatal(err)
	}
	if notices, err = s.PendingNotices(t.Context(), "otp", 10); err != nil || len(notices) != 0 {
		t.Errorf("afterwards: %v, %v", notices, err)
	}
	third := alone
	third.Alone = "poll/u3"
	taken := create(t, s, third)
	if err := s.Cancel(t.Context(), taken.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if notices, err = s.PendingNotices(t.Context(), "otp", 10); err != nil || len(notices) != 1 || notices[0].ID != taken.ID || notices[0].Outcome != ledger.Cancelled {
		t.Errorf("after a cancel: %+v, %v", notices, err)
	}
}

// Redis lost the record while the vendor was called; the task goes on with the
// one that Finish wrote.
func TestARecordLostDuringTheCall(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	c := claim(create(t, s, sample()).ID)
	c.Repeatable = true
	g := begin(t, s, c, ledger.Go)
	rdb.Del(t.Context(), "errand:{otp}:task:"+c.ID)
	if err := s.Finish(t.Context(), c.ID, g, ledger.Result{State: ledger.Retrying, Counted: true, Attempt: &ledger.Attempt{Class: "temporary"}}); err != nil {
		t.Fatal(err)
	}
	g = begin(t, s, c, ledger.Go)
	if g.Attempts != 1 {
		t.Errorf("attempts = %d, want 1", g.Attempts)
	}
	if err := s.Finish(t.Context(), c.ID, g, ended(ledger.Done)); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Get(t.Context(), c.ID); err != nil || r.Outcome != ledger.Done || len(r.History) != 2 || r.Type != c.Type {
		t.Errorf("record = %+v, %v", r, err)
	}
}
