package redisconn

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// master is a server that takes connections and says nothing.
func master(t *testing.T) (addr string) {
	t.Helper()
	var cfg net.ListenConfig
	l, err := cfg.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return l.Addr().String()
}

// sentinels answer the dials of a client.
type sentinels struct {
	tracker *connTracker
	// asked has for each dial where the answer goes.
	asked chan chan string
}

func newSentinels() *sentinels {
	return &sentinels{
		tracker: &connTracker{open: map[*trackedConn]struct{}{}},
		asked:   make(chan chan string, 10),
	}
}

func (s *sentinels) dial(ctx context.Context, addr string) (net.Conn, error) {
	return s.tracker.dialer(new(net.Dialer).DialContext)(ctx, "tcp", addr)
}

// client returns the dial of a client that asks the sentinels first.
func (s *sentinels) client() func(ctx context.Context) (net.Conn, error) {
	m := &newestMaster{tracker: s.tracker}
	dial := m.DialHook(func(ctx context.Context, _, _ string) (net.Conn, error) {
		answer := make(chan string)
		s.asked <- answer
		return s.dial(ctx, <-answer)
	})
	return func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", "") }
}

// A dial that was led to the master before ends after one that was led to the new one:
// go-redis has no reason to close that connection any more.
func TestALateConnectionToTheMasterBeforeIsRefused(t *testing.T) {
	t.Parallel()
	before, now := master(t), master(t)
	s := newSentinels()
	dial := s.client()
	begin := func() (asked chan string, ended chan error) {
		ended = make(chan error, 1)
		go func() {
			_, err := dial(t.Context())
			ended <- err
		}()
		return <-s.asked, ended
	}
	first, late := begin()
	second, newer := begin()
	second <- now
	if err := <-newer; err != nil {
		t.Fatal(err)
	}
	first <- before
	err := <-late
	if dialed, ok := errors.AsType[*net.OpError](err); !ok || dialed.Op != "dial" || !errors.Is(err, errOvertaken) || !Unreachable(err) {
		t.Errorf("the error is %v", err)
	}
	if n := len(s.tracker.open); n != 1 {
		t.Errorf("%d connections are open, want that to the new master", n)
	}
}

// A connection to the master before that slipped through ends when the next one leads to
// another; one to a sentinel does not.
func TestConnectionsToTheMasterBeforeAreClosed(t *testing.T) {
	t.Parallel()
	before, now, sentinel := master(t), master(t), master(t)
	s := newSentinels()
	dial := s.client()
	toSentinel, err := s.dial(t.Context(), sentinel)
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, to := range []string{before, before, now, now} {
		go func() { answer := <-s.asked; answer <- to }()
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for i, conn := range conns[:2] {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading from connection %d to the master before: %v", i, err)
		}
	}
	for _, conn := range append(conns[2:], toSentinel) {
		if _, err := io.WriteString(conn, "PING"); err != nil {
			t.Error(err)
		}
	}
}
