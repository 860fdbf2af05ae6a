package record_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

// rig is a Redis with a producer, and a worker that takes for the test.
type rig struct {
	t        *testing.T
	redis    *redistest.Server
	rdb      *redis.Client
	store    *record.Store
	producer *broker.Producer
	server   *broker.Server
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, redis: redistest.New(t)}
	r.rdb = r.redis.Client()
	r.store = record.New(r.rdb)
	own := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	t.Cleanup(func() { _ = own.Close() })
	r.producer = broker.NewProducer(own, record.New(own), nil)
	var err error
	r.server, err = broker.NewServer(broker.Config{
		Redis: own, General: own, Queues: map[string]int{"otp": 1}, Owner: "w1", Hold: time.Minute, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) enqueue() string {
	r.t.Helper()
	ticket, err := r.producer.Enqueue(r.t.Context(), broker.Job{
		Type: "a:b", Payload: []byte(`{}`), Policy: broker.Policy{Queue: "otp", Budget: time.Minute, Retention: time.Hour},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket.ID
}

// end ends the queue's next task.
func (r *rig) end(o record.Outcome) {
	r.t.Helper()
	claims, err := r.server.Take(r.t.Context(), "otp", 1)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := claims[0].End(broker.Result{Outcome: o, Attempt: &record.Attempt{At: time.Now(), Class: string(o)}}); err != nil {
		r.t.Fatal(err)
	}
}

type answer struct {
	record *record.Record
	err    error
}

func (r *rig) wait(w *record.Watcher, id string) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		got, err := w.Wait(ctx, id)
		answers <- answer{got, err}
	}()
	return answers
}

// listening waits until n channels are subscribed to.
func (r *rig) listening(n int) {
	r.t.Helper()
	testwait.Eventually(r.t, 10*time.Second, "the subscriptions stand", func() bool {
		return len(r.rdb.PubSubChannels(r.t.Context(), "errand:done:*").Val()) == n
	})
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := record.NewWatcher(r.store)
	id := r.enqueue()
	waits := []<-chan answer{r.wait(w, id), r.wait(w, id), r.wait(w, id)}
	r.listening(1)
	r.end(record.Declined)
	for _, answers := range waits {
		if a := <-answers; a.err != nil || a.record.Outcome != record.Declined {
			t.Errorf("Wait = %+v, %v", a.record, a.err)
		}
	}
	if got, err := w.Wait(t.Context(), id); err != nil || got.Outcome != record.Declined {
		t.Errorf("after the end: %+v, %v", got, err)
	}
	r.listening(0)
	if _, err := w.Wait(t.Context(), "otp_nosuchtask"); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("no such task: %v", err)
	}
	if _, err := w.Wait(t.Context(), "rubbish"); !errors.Is(err, record.ErrBadID) {
		t.Errorf("no ID: %v", err)
	}
	open := r.enqueue()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := w.Wait(ctx, open); !errors.Is(err, context.DeadlineExceeded) || got == nil || got.State != record.Pending {
		t.Errorf("a wait that times out: %+v, %v", got, err)
	}
}

// A wait ends within the time of a message, not with its next look: it has seen the
// task not ended, and the end is published.
func TestTheEndIsPublishedToWhoWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := record.NewWatcher(r.store).PollEvery(time.Hour)
	id := r.enqueue()
	answers := r.wait(w, id)
	r.awaited(id)
	if n := r.published(); n != 0 {
		t.Errorf("%d messages before the end", n)
	}
	r.end(record.Done)
	if n := r.published(); n != 1 {
		t.Errorf("%d messages, want one", n)
	}
	if a := <-answers; a.err != nil || a.record.Outcome != record.Done {
		t.Errorf("Wait = %+v, %v", a.record, a.err)
	}
	// Nobody waits for the next one.
	r.enqueue()
	r.end(record.Done)
	if n := r.published(); n != 1 {
		t.Errorf("%d messages, though nobody waits for the second end", n)
	}
}

// published counts the messages, by Redis' own statistics.
func (r *rig) published() int {
	r.t.Helper()
	info, err := r.rdb.Info(r.t.Context(), "commandstats").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, found := strings.Cut(info, "cmdstat_publish:calls=")
	if !found {
		return 0
	}
	n := 0
	for _, c := range rest {
		if c < '0' || c > '9' {
			return n
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// tappedConn has a test do something around the commands that a client sends.
type tappedConn struct {
	net.Conn
	tap *tap
}

// tap does something once, before or after a command that contains a text is sent.
type tap struct {
	text          string
	before, after func()
	armed         atomic.Bool
}

func (c tappedConn) Write(b []byte) (int, error) {
	if !strings.Contains(string(b), c.tap.text) || !c.tap.armed.CompareAndSwap(true, false) {
		return c.Conn.Write(b)
	}
	if c.tap.before != nil {
		c.tap.before()
	}
	n, err := c.Conn.Write(b)
	if c.tap.after != nil {
		c.tap.after()
	}
	return n, err
}

// Wherever the end of a task falls between the steps of a wait that begins, the wait
// learns of it by itself: it does not depend on its regular look.
func TestAWaiterThatComesDuringTheEnd(t *testing.T) {
	t.Parallel()
	const subscribe, read = "subscribe", "evalsha"
	for _, tc := range []struct {
		name string
		tap  func(r *rig, id string) *tap
	}{
		{
			name: "before it subscribes",
			tap: func(r *rig, _ string) *tap {
				return &tap{text: subscribe, before: func() { r.end(record.Done) }}
			},
		},
		{
			name: "before it knows that it has subscribed",
			tap: func(r *rig, _ string) *tap {
				return &tap{text: subscribe, after: func() {
					r.listening(1)
					r.end(record.Done)
				}}
			},
		},
		{
			name: "before it reads",
			tap: func(r *rig, _ string) *tap {
				return &tap{text: read, before: func() { r.end(record.Done) }}
			},
		},
		{
			name: "before it knows what it has read",
			tap: func(r *rig, id string) *tap {
				return &tap{text: read, after: func() {
					r.awaited(id)
					r.end(record.Done)
				}}
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.enqueue()
			tapped := tc.tap(r, id)
			own := redis.NewClient(&redis.Options{
				Addr: r.redis.Addr(),
				Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
					return tappedConn{Conn: c, tap: tapped}, err
				},
			})
			t.Cleanup(func() { _ = own.Close() })
			store := record.New(own)
			if _, err := store.Get(t.Context(), id); err != nil { // Redis knows the script from now on
				t.Fatal(err)
			}
			tapped.armed.Store(true)
			a := <-r.wait(record.NewWatcher(store).PollEvery(time.Hour), id)
			if a.err != nil || a.record.Outcome != record.Done {
				t.Errorf("Wait = %+v, %v", a.record, a.err)
			}
			if tapped.armed.Load() {
				t.Error("the wait has sent no such command")
			}
		})
	}
}

// A wait whose subscription comes about after its first look looks again then.
func TestAWaiterThatSubscribesLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue()
	var closed atomic.Bool
	own := redis.NewClient(&redis.Options{
		Addr:          r.redis.Addr(),
		DialerRetries: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if closed.Load() {
				return nil, errors.New("no more connections")
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	})
	t.Cleanup(func() { _ = own.Close() })
	store := record.New(own)
	if _, err := store.Get(t.Context(), id); err != nil { // it has a connection to read with
		t.Fatal(err)
	}
	closed.Store(true)
	answers := r.wait(record.NewWatcher(store).PollEvery(time.Hour), id)
	r.awaited(id)
	r.end(record.Done)
	closed.Store(false)
	if a := <-answers; a.err != nil || a.record.Outcome != record.Done {
		t.Errorf("Wait = %+v, %v", a.record, a.err)
	}
}

// A subscription that was interrupted may have missed the end.
func TestAWaiterWhoseSubscriptionBreaks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue()
	answers := r.wait(record.NewWatcher(r.store).PollEvery(time.Hour), id)
	r.listening(1)
	r.awaited(id)
	// Nothing is published, as if it had been while nobody was connected.
	r.rdb.HDel(t.Context(), record.Key("otp", id), "waiting")
	r.end(record.Done)
	if n, err := r.rdb.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result(); err != nil || n != 1 {
		t.Fatalf("%d subscribers, %v", n, err)
	}
	if a := <-answers; a.err != nil || a.record.Outcome != record.Done {
		t.Errorf("Wait = %+v, %v", a.record, a.err)
	}
}

// awaited waits until the record says that somebody waits.
func (r *rig) awaited(id string) {
	r.t.Helper()
	testwait.Eventually(r.t, 10*time.Second, "the record knows that somebody waits", func() bool {
		return r.rdb.HExists(r.t.Context(), record.Key("otp", id), "waiting").Val()
	})
}

// pub/sub may lose a message; then the next look finds the end.
func TestAnEndWhoseMessageIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue()
	answers := r.wait(record.NewWatcher(r.store), id)
	r.listening(1)
	r.awaited(id)
	r.rdb.HDel(t.Context(), record.Key("otp", id), "waiting") // so that nothing is published
	r.end(record.Done)
	if a := <-answers; a.err != nil || a.record.Outcome != record.Done {
		t.Errorf("Wait = %+v, %v", a.record, a.err)
	}
}
