package worker_test

import (
	"context"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/worker"
)

// A worker is stopped while Redis does not answer, with a task in hand: it ends
// soon after its grace, and does not wait for each part of asynq in turn.
func TestShutdownWhileRedisIsFrozen(t *testing.T) {
	t.Parallel()
	called, answer := make(chan struct{}), make(chan struct{})
	r := newRig(t, define("t:slow", broker.Policy{}, func(context.Context, string) (any, error) {
		close(called)
		<-answer
		return nil, nil
	}))
	target, err := redisconn.Parse(r.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	const grace = 2 * time.Second
	stop := r.work(func(c *worker.Config) {
		servers, cutServers := target.OpenTracked(redisconn.Servers, nil)
		general, cutGeneral := target.OpenTracked(redisconn.General, nil)
		c.Redis, c.General = servers, general
		c.Cut = func() { cutServers(); cutGeneral() }
		c.Grace = grace
	})
	r.enqueue("t:slow")
	<-called
	r.redis.Pause()
	close(answer)
	began := time.Now()
	stop()
	if took := time.Since(began); took > grace+2*time.Second {
		t.Errorf("the stop took %v", took)
	}
	r.redis.Resume()
}
