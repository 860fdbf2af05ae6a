package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// repeater sends each script twice, as go-redis does when the reply was lost.
type repeater struct{ redis.Hook }

func (repeater) DialHook(next redis.DialHook) redis.DialHook { return next }

func (repeater) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (repeater) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			_ = next(ctx, cmd)
		}
		return next(ctx, cmd)
	}
}

// Each of many jobs has an answer of its own, in their order, whatever becomes of the others
// and also when the reply to the call was lost.
func TestEachOfManyJobsHasAnAnswer(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost=", lost), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			earlier := r.enqueue(keyed("earlier")).ID
			producer := r.newProducer()
			if lost {
				producer = r.newProducer(repeater{})
			}
			other := func(j *broker.Job) { j.Payload = []byte(`{"x":2}`) }
			late := func(j *broker.Job) { j.EnqueueBefore = r.now().Add(-time.Second) }
			jobs := []broker.Job{
				sample(),
				sample(keyed("k")),
				sample(keyed("k")),
				sample(keyed("earlier")),
				sample(keyed("k"), other),
				sample(late),
				sample(func(j *broker.Job) { j.Policy.Queue = "polls" }),
				sample(func(j *broker.Job) { j.In = time.Hour }),
			}
			got := producer.EnqueueAll(t.Context(), jobs)
			wantErr := map[int]error{4: record.ErrKeyConflict, 5: record.ErrLate}
			for i, s := range got {
				duplicate := i == 2 || i == 3
				if !errors.Is(s.Err, wantErr[i]) || s.Ticket.Duplicate != duplicate {
					t.Errorf("job %d: %+v", i, s)
				}
			}
			if got[2].Ticket.ID != got[1].Ticket.ID || got[3].Ticket.ID != earlier || got[4].Ticket.ID != got[1].Ticket.ID {
				t.Errorf("the keys lead to %+v", got)
			}
			if n := r.rdb.LLen(t.Context(), "asynq:{otp}:pending").Val(); n != 3 {
				t.Errorf("%d tasks wait, want 3", n)
			}
			if id := got[6].Ticket.ID; !r.rdb.SIsMember(t.Context(), "asynq:queues", "polls").Val() || r.get(id).Queue != "polls" {
				t.Errorf("the task of the other queue is %+v", r.get(id))
			}
			if due := got[7].Ticket.Due.Sub(r.now()); due < 50*time.Minute || due > 70*time.Minute {
				t.Errorf("the delayed task is due in %v", due)
			}
			r.check()
		})
	}
}

// Jobs that are more than one call takes are stored all the same, in their order.
func TestManyJobsAreStoredInTheirOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	jobs := make([]broker.Job, 150)
	for i := range jobs {
		jobs[i] = sample(keyed(fmt.Sprint("k", i)))
		if i%40 == 0 { // four of them do not fit in one call
			jobs[i].Payload = []byte(`"` + string(make([]byte, 400<<10)) + `"`)
		}
	}
	for i, s := range r.producer.EnqueueAll(t.Context(), jobs) {
		if s.Err != nil || s.Ticket.Duplicate {
			t.Fatalf("job %d: %+v", i, s)
		}
		if c := r.take(); c.ID != s.Ticket.ID {
			t.Fatalf("the task %d in the queue is %s, want %s", i, c.ID, s.Ticket.ID)
		}
	}
	if none := r.producer.EnqueueAll(t.Context(), nil); len(none) != 0 {
		t.Errorf("nothing became %+v", none)
	}
}

// The queue's limit holds within a call.
func TestManyJobsMeetTheLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	known := r.enqueue(keyed("known")).ID
	r.producer.RefuseWhenFull(3)
	got := r.producer.EnqueueAll(t.Context(), []broker.Job{
		sample(keyed("a")), sample(), sample(keyed("b")), sample(keyed("known")), sample(),
	})
	for i, s := range got {
		switch i {
		case 0, 1:
			if s.Err != nil || s.Ticket.Duplicate {
				t.Errorf("job %d: %+v", i, s)
			}
		case 3:
			if s.Err != nil || !s.Ticket.Duplicate || s.Ticket.ID != known {
				t.Errorf("the known key got %+v", s)
			}
		default:
			if full := wantFull(t, s.Err); full.Waiting != 3 || full.Limit != 3 {
				t.Errorf("job %d: %+v", i, full)
			}
		}
	}
	r.check()
}

// A producer with another salt than Redis' learns it, and only what has a digest is sent
// once more.
func TestManyJobsMeetTheSalt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	known := r.enqueue(keyed("known")).ID
	got := r.newProducer().EnqueueAll(t.Context(), []broker.Job{
		sample(keyed("a")), sample(), sample(keyed("known")), sample(keyed("a")),
	})
	for i, s := range got {
		if s.Err != nil || s.Ticket.Duplicate != (i > 1) {
			t.Errorf("job %d: %+v", i, s)
		}
	}
	if got[2].Ticket.ID != known || got[3].Ticket.ID != got[0].Ticket.ID {
		t.Errorf("the keys lead to %+v", got)
	}
	if n := r.rdb.LLen(t.Context(), "asynq:{otp}:pending").Val(); n != 3 {
		t.Errorf("%d tasks wait, want 3", n)
	}
	r.check()
}

// When Redis does not answer, none of many jobs is taken for stored.
func TestManyJobsWithoutRedis(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue()
	r.redis.Kill()
	for i, s := range r.producer.EnqueueAll(t.Context(), []broker.Job{sample(), sample(keyed("k"))}) {
		if s.Err == nil || s.Ticket.ID != "" {
			t.Errorf("job %d: %+v", i, s)
		}
	}
}

// Batches whose tasks have the same keys go one after the other, in their order; others
// do not wait, and one that is given up keeps nobody.
func TestBatchesWithTheSameKeysGoInOrder(t *testing.T) {
	t.Parallel()
	var order broker.Order
	const batches = 60
	turns := make([]*broker.Turn, batches)
	for i := range turns {
		turns[i] = order.Next()
	}
	went := make(chan int, batches)
	held, free := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for i := batches - 1; i >= 0; i-- { // the last come first
		turn := turns[i]
		all.Go(func() {
			defer turn.Done()
			switch {
			case i == batches-1:
				turn.Wait([]string{"free"})
				close(free)
				return
			case i%7 == 3:
				return // given up
			}
			turn.Wait([]string{fmt.Sprint("own", i), "shared", "shared"})
			went <- i
			if i == 0 {
				<-held
			}
		})
	}
	<-free // though the first batch is not over; all have named their keys by now
	last := <-went
	select {
	case i := <-went:
		t.Errorf("batch %d goes beside batch %d", i, last)
	case <-time.After(50 * time.Millisecond):
	}
	close(held)
	all.Wait()
	close(went)
	n := 1
	for i := range went {
		if n++; i < last {
			t.Errorf("batch %d went after batch %d", i, last)
		}
		last = i
	}
	if want := batches - 1 - 8; n != want && !t.Failed() {
		t.Errorf("%d batches went, want %d", n, want)
	}
}
