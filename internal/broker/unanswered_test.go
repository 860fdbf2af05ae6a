package broker_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// mute loses the replies of all scripts while it is on.
type mute struct{ on atomic.Bool }

func (*mute) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*mute) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *mute) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil && h.on.Load() && strings.HasPrefix(cmd.Name(), "eval") {
			err = io.ErrUnexpectedEOF
			cmd.SetErr(err)
		}
		return err
	}
}

// A worker has run a task on a master that a failover then replaced, and whose producer has
// heard nothing. Who asks again with the key gets the same task, so that the worker's replay
// finds it, and no other worker runs it as well.
func TestAskingAgainIsTheSameTask(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hook := &mute{}
	producer := r.newProducer(hook)
	ask := func(change ...func(*broker.Job)) (broker.Ticket, error) {
		return producer.Enqueue(t.Context(), sample(change...))
	}
	before := r.snapshot()
	hook.on.Store(true)
	_, err := ask(keyed("k"))
	unconfirmed, ok := errors.AsType[*broker.UnconfirmedError](err)
	if !ok {
		t.Fatalf("err = %v", err)
	}
	hook.on.Store(false)
	mine := r.start()
	r.forget(before)

	other, err := ask(keyed("k"), func(j *broker.Job) { j.Payload = []byte(`{"other":1}`) })
	if err != nil || other.ID == unconfirmed.ID {
		t.Fatalf("another payload: %+v, %v", other, err)
	}
	r.forget(before)

	ticket, err := ask(keyed("k"))
	if err != nil || ticket.ID != unconfirmed.ID || ticket.ID != mine.ID {
		t.Fatalf("the second try is %+v, %v; the first was %s", ticket, err, unconfirmed.ID)
	}
	theirs := r.takeAs("w2")
	if err := r.server("w1").WriteEnd(t.Context(), mine, ended(record.Done)); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Start(t.Context()); !errors.Is(err, record.ErrStale) {
		t.Errorf("it may run twice: %v", err)
	}
	r.check()
	if again, err := ask(keyed("k")); err != nil || !again.Duplicate || again.ID != ticket.ID {
		t.Errorf("the third try is %+v, %v", again, err)
	}
}
