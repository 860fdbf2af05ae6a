package broker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
)

func (r *rig) format() string {
	return r.rdb.Get(r.t.Context(), "errand:format").Val()
}

func TestFormat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.enqueue()
	if got := r.format(); got != broker.Format {
		t.Errorf("the format is %q after the first task", got)
	}
	if err := broker.CheckFormat(ctx, r.rdb); err != nil {
		t.Errorf("the own format: %v", err)
	}
	r.rdb.Set(ctx, "errand:format", "5", 0)
	err := broker.CheckFormat(ctx, r.rdb)
	if wrong, ok := errors.AsType[*broker.FormatError](err); !ok || wrong.Found != "5" {
		t.Fatalf("another format: %v", err)
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, `"5"`) || !strings.Contains(text, `"4"`) {
		t.Errorf("%q does not name both formats in one line", text)
	}
	if got := r.format(); got != "5" {
		t.Errorf("the format has become %q", got)
	}
	isWrong := func(err error) bool { _, ok := errors.AsType[*broker.FormatError](err); return ok }
	tasks := len(r.rdb.Keys(ctx, "errand:{otp}:task:*").Val())
	if _, err := r.newProducer().Enqueue(ctx, sample()); !isWrong(err) {
		t.Errorf("a producer: %v", err)
	}
	if n := len(r.rdb.Keys(ctx, "errand:{otp}:task:*").Val()); n != tasks {
		t.Errorf("%d tasks, there were %d", n, tasks)
	}
	if _, err := r.server("w1").Take(ctx, queue, 1); !isWrong(err) {
		t.Errorf("a worker that takes: %v", err)
	}
	if err := r.newServer(r.config("w2")).Start(); !isWrong(err) {
		t.Errorf("a worker that starts: %v", err)
	}
	if n := r.rdb.LLen(ctx, "asynq:{otp}:pending").Val(); n != 1 {
		t.Errorf("%d tasks are pending", n)
	}
	// Who has begun goes on: it has looked, and looks no more.
	if _, err := r.producer.Enqueue(ctx, sample()); err != nil {
		t.Errorf("a producer that has begun: %v", err)
	}
}

// The first of two releases at once decides, and the other one sees it.
func TestTheFirstFormatStands(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all sync.WaitGroup
	for range 8 {
		c := r.client()
		all.Go(func() {
			if err := broker.CheckFormat(context.Background(), c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	other := r.client(beforeSet(func() { r.rdb.Set(context.Background(), "errand:format", "1", 0) }))
	r.rdb.Del(t.Context(), "errand:format")
	if err := broker.CheckFormat(t.Context(), other); err == nil || r.format() != "1" {
		t.Errorf("%v, and the format is %s", err, r.format())
	}
}

// beforeSet does something just before a SET.
type beforeSet func()

func (beforeSet) DialHook(next redis.DialHook) redis.DialHook { return next }

func (beforeSet) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (do beforeSet) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "set") {
			do()
		}
		return next(ctx, cmd)
	}
}

// Redis may be away when a worker starts: the worker waits for it, and looks then.
func TestAWorkerStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cfg := r.config("w1")
	handled := make(chan string, 1)
	cfg.Handle = func(_ context.Context, c *broker.Claim) {
		handled <- c.ID
		_ = c.End(ended(record.Done))
	}
	r.redis.Kill()
	s := r.newServer(cfg)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	r.redis.Start()
	if id := r.enqueue().ID; <-handled != id {
		t.Errorf("another task than %s was run", id)
	}
}

func TestFormatInACluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3)
	producer := broker.NewProducer(c.Client(), record.New(c.Client()), nil)
	if _, err := producer.Enqueue(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	if got := c.Client().Get(t.Context(), "errand:format").Val(); got != broker.Format {
		t.Errorf("the format is %q", got)
	}
	if found, err := broker.Check(t.Context(), c.Client(), queue); len(found) > 0 || err != nil {
		t.Errorf("%v, %v", found, err)
	}
}
