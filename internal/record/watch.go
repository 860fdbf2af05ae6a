package record

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pollEvery is the net beneath the publish: pub/sub is at most once.
	pollEvery = time.Second
	// readyWithin is how long a first look waits for the subscription.
	readyWithin = 250 * time.Millisecond
)

// Watcher waits for the ends of tasks. All waits of a process share one
// subscription connection, opened with the first wait and closed after the
// last one.
type Watcher struct {
	store *Store
	poll  time.Duration

	mu     sync.Mutex
	pubsub *redis.PubSub
	topics map[string]*topic // by channel
}

// topic is the end of one task, and who waits for it.
type topic struct {
	ready   chan struct{} // closed when the subscription stands
	isReady bool
	waiters map[chan struct{}]bool
}

// NewWatcher returns a Watcher on s.
func NewWatcher(s *Store) *Watcher {
	return &Watcher{
		store:  s,
		poll:   pollEvery,
		topics: map[string]*topic{},
	}
}

// Wait returns the record once the task has ended. If ctx ends first it
// returns the last record seen, if any, with ctx's error; Redis trouble on the
// way is joined to it. ErrNotFound and ErrBadID are returned at once.
func (w *Watcher) Wait(ctx context.Context, id string) (*Record, error) {
	ready, ended := w.join(ctx, id)
	defer w.leave(id, ended)

	// Read only after the subscription stands: an end published between the two
	// would go unseen until the next poll.
	select {
	case <-ready:
		ready = nil
	case <-time.After(readyWithin):
	case <-ctx.Done():
	}
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	var last *Record
	var trouble error
	for {
		switch record, err := w.store.read(ctx, id, true); {
		case err == nil && record.State == Ended:
			return record, nil
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrBadID):
			return last, err
		case err == nil:
			last, trouble = record, nil
		case ctx.Err() == nil:
			trouble = err
		}
		select {
		case <-ended:
		case <-ready: // only now
			ready = nil
		case <-poll.C:
		case <-ctx.Done():
			return last, errors.Join(ctx.Err(), trouble)
		}
	}
}

func (w *Watcher) join(ctx context.Context, id string) (ready <-chan struct{}, ended chan struct{}) {
	channel, ended := EndChannel(id), make(chan struct{}, 1)
	ctx = context.WithoutCancel(ctx) // the connection outlives this wait
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pubsub == nil {
		w.pubsub = w.store.rdb.Subscribe(ctx)
		go w.receive(w.pubsub.ChannelWithSubscriptions())
	}
	t := w.topics[channel]
	if t == nil {
		t = &topic{ready: make(chan struct{}), waiters: map[chan struct{}]bool{}}
		w.topics[channel] = t
		// An error here is mended by go-redis, which subscribes again when it
		// reconnects; until then the poll serves.
		_ = w.pubsub.Subscribe(ctx, channel)
	}
	t.waiters[ended] = true
	return t.ready, ended
}

func (w *Watcher) leave(id string, ended chan struct{}) {
	channel := EndChannel(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.topics[channel]
	delete(t.waiters, ended)
	if len(t.waiters) > 0 {
		return
	}
	delete(w.topics, channel)
	if len(w.topics) > 0 {
		_ = w.pubsub.Unsubscribe(context.Background(), channel)
		return
	}
	_ = w.pubsub.Close()
	w.pubsub = nil
}

func (w *Watcher) receive(messages <-chan any) {
	for m := range messages {
		switch m := m.(type) {
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				w.tell(m.Channel, (*topic).subscribed)
			}
		case *redis.Message:
			w.tell(m.Channel, (*topic).wake)
		}
	}
}

// subscribed says that the subscription stands. After an interruption, an end may have
// been published to nobody.
func (t *topic) subscribed() {
	if t.isReady {
		t.wake()
		return
	}
	t.isReady = true
	close(t.ready)
}

// wake has all waiters look.
func (t *topic) wake() {
	for waiter := range t.waiters {
		select {
		case waiter <- struct{}{}:
		default: // it has been woken already
		}
	}
}

func (w *Watcher) tell(channel string, do func(*topic)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.topics[channel]; t != nil {
		do(t)
	}
}
