package tokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"errand.internal/internal/admission"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/redistest"
)

func startRedis(t *testing.T) *redistest.Server { return redistest.New(t) }

// While Redis is down valid tokens are still handed out, and ten processes
// without one make ten logins. When it is back they agree on one token again.
func TestRedisDownCostsOneLoginPerProcess(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		down, up func(*redistest.Server)
	}{
		{"stopped", (*redistest.Server).Stop, (*redistest.Server).Start},
		{"frozen", (*redistest.Server).Pause, (*redistest.Server).Resume},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startRedis(t)
			v := &vendor{life: time.Hour}
			clock := &testClock{}
			all := fleet(t, 10, srv.Client(), testProfile(t, v), admission.WithNow(clock.now))
			first := mustGet(t, all[0])
			for _, s := range all {
				mustGet(t, s)
				s.SetRedisTimeout(250 * time.Millisecond) // the default, now that the start is over
			}
			tt.down(srv)
			clock.advance(time.Hour - 5*time.Minute) // refresh is due
			for _, s := range all {
				for range 100 {
					if got := mustGet(t, s); got.Gen != first.Gen {
						t.Fatal("a valid token was dropped")
					}
				}
			}
			v.expectLogins(t, 1)
			for _, s := range all { // a fetch that sees the clock jump takes itself for one that was suspended
				eventually(t, "the refresh to be over", func() bool { return !s.refreshing.Load() })
			}
			clock.advance(5 * time.Minute) // the token has expired
			concurrently(all, func(_ int, s *Shared) {
				for range 20 {
					if _, err := s.Get(t.Context()); err != nil {
						t.Errorf("Get without Redis: %v", err)
					}
				}
			})
			v.expectLogins(t, 11)

			tt.up(srv)
			for _, s := range all {
				eventually(t, "Redis to answer", func() bool { _, err := s.State(t.Context()); return err == nil })
				eventually(t, "the refresh to be over", func() bool { return !s.refreshing.Load() })
				s.SetRedisTimeout(testRedisTimeout)
			}
			clock.advance(time.Hour)
			start := time.Now()
			gens := make([]int64, len(all))
			concurrently(all, func(i int, s *Shared) {
				tok, err := s.Get(t.Context())
				if err != nil {
					t.Errorf("Get: %v", err)
				}
				gens[i] = tok.Gen
			})
			// A frozen Redis runs old requests when it wakes up. A lease that it grants
			// then has no holder and must not block the fleet (12 s).
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("the fleet waited %v for a token", took)
			}
			for _, g := range gens {
				if g != gens[0] {
					t.Fatal("the processes do not agree on a token")
				}
			}
			v.expectLogins(t, 12)
		})
	}
}

// While Redis is frozen a request takes its timeout at most, and then the breaker
// opens.
func TestFrozenRedisCostsOneTimeout(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	s := newSource(t, srv.Client(), testProfile(t, v), admission.WithNow(clock.now))
	if _, err := s.Keys(); err != nil {
		t.Fatal(err)
	}
	s.SetRedisTimeout(250 * time.Millisecond)
	hook := &counting{}
	srv.Client().AddHook(hook)
	srv.Pause()
	defer srv.Resume()
	start := time.Now()
	mustGet(t, s)
	if took := time.Since(start); took < 2*time.Second || took > 5*time.Second {
		t.Errorf("Get took %v, want a little over 2 s", took)
	}
	asked := hook.commands.Load()
	clock.advance(59*time.Minute + 30*time.Second)
	s.AvoidRedis(time.Second) // the breaker has just opened
	tok := mustGet(t, s)
	clock.advance(11 * time.Second)
	s.AvoidRedis(time.Minute)
	if !s.Reject(t.Context(), tok) {
		t.Error("an old token was not rejected")
	}
	// The lease that may have been granted is given back in the background.
	if got := hook.commands.Load() - asked; got > 1 {
		t.Errorf("with the breaker open Redis was asked %d times", got)
	}
	v.expectLogins(t, 2)
}

// While Redis is slow the fleet logs in once, though no process gets its reply within the
// 250 ms that other requests have, and though what came of the login is written late. With
// a wrong password, a login per process would lock the account.
func TestASlowRedisCostsOneLogin(t *testing.T) {
	t.Parallel()
	for _, slowWhen := range []string{"asking", "writing"} {
		for _, refused := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, refused %t", slowWhen, refused), func(t *testing.T) {
				t.Parallel()
				srv := startRedis(t)
				v := &vendor{life: time.Hour}
				v.answer = func(ctx context.Context, n int64) (Grant, error) {
					if slowWhen == "writing" {
						srv.PauseFor(1500 * time.Millisecond)
					}
					if refused {
						return refuse(ctx, n)
					}
					return v.grant(n), nil
				}
				all := fleet(t, 8, srv.Client(), testProfile(t, v))
				for _, s := range all {
					if _, err := s.Keys(); err != nil {
						t.Fatal(err)
					}
					s.SetRedisTimeout(250 * time.Millisecond) // the default, now that the start is over
				}
				if slowWhen == "asking" {
					srv.PauseFor(700 * time.Millisecond)
				}
				concurrently(all, func(_ int, s *Shared) {
					if err := get(t, s); refused {
						wantRefused(t, err, 30*time.Second)
					} else if err != nil {
						t.Errorf("Get: %v", err)
					}
				})
				v.expectLogins(t, 1)
			})
		}
	}
}

// A process that starts while Redis is down works without a fingerprint.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	v := &vendor{life: time.Hour}
	s := newSource(t, closedClient(t), testProfile(t, v))
	mustGet(t, s)
	if got := mustGet(t, s); got.Origin != FallbackNoRedis {
		t.Errorf("origin %d, want FallbackNoRedis", got.Origin)
	}
	v.expectLogins(t, 1)
	if _, err := s.State(t.Context()); err == nil {
		t.Error("State without Redis gave no error")
	}

	v = &vendor{answer: refuse}
	s = newSource(t, closedClient(t), testProfile(t, v))
	for range 5 {
		wantRefused(t, get(t, s), 30*time.Second)
	}
	v.expectLogins(t, 1)
}

func TestExclusiveWaitsForRedis(t *testing.T) {
	t.Parallel()
	v := &vendor{life: time.Hour}
	p := testProfile(t, v)
	p.Exclusive = true
	s := newSource(t, closedClient(t), p)
	for range 3 {
		wantUnavailable(t, get(t, s))
	}
	v.expectLogins(t, 0)
}

// If Redis goes down during the login, the token is used all the same.
func TestRedisGoesDownDuringTheLogin(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	v := &vendor{life: time.Hour}
	v.answer = func(_ context.Context, n int64) (Grant, error) {
		srv.Stop()
		return v.grant(n), nil
	}
	s := newSource(t, srv.Client(), testProfile(t, v))
	first := mustGet(t, s)
	if got := mustGet(t, s); got.Gen != first.Gen {
		t.Error("the token was not kept")
	}
	v.expectLogins(t, 1)
}

// The reply to "begin" is lost. The client asks again and must get its own lease
// instead of waiting for it.
func TestLostReplyDoesNotLoseTheLease(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	proxy := newLossyProxy(t, srv.Addr())
	rdb := redis.NewClient(&redis.Options{
		Addr: proxy.addr, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = rdb.Close() })
	for _, script := range []*redisscript.Script{beginScript, commitScript} {
		if err := script.Load(t.Context(), srv.Client()); err != nil {
			t.Fatal(err)
		}
	}
	v := &vendor{life: time.Hour}
	s := newSource(t, rdb, testProfile(t, v))
	if _, err := s.Keys(); err != nil {
		t.Fatal(err)
	}
	proxy.lose(beginScript.Hash())
	proxy.lose(commitScript.Hash())
	start := time.Now()
	first := mustGet(t, s)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Get took %v: it waited for its own lease", took)
	}
	if n := proxy.lost.Load(); n != 2 {
		t.Fatalf("%d replies were lost, want 2", n)
	}
	v.expectLogins(t, 1)
	if got := mustGet(t, newSource(t, rdb, testProfile(t, v))); got.Gen != first.Gen {
		t.Error("the token was not stored")
	}
	v.expectLogins(t, 1)
}

// lossyProxy forwards to a Redis and loses the reply to chosen commands once,
// with the connection, after Redis has carried them out.
type lossyProxy struct {
	addr string
	lost atomic.Int64
	mu   sync.Mutex
	next []string // parts of the commands whose replies will be lost
}

func (p *lossyProxy) lose(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = append(p.next, part)
}

// loses reports whether the reply to these bytes is to be lost.
func (p *lossyProxy) loses(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, part := range p.next {
		if strings.Contains(string(b), part) {
			p.next = append(p.next[:i], p.next[i+1:]...)
			p.lost.Add(1)
			return true
		}
	}
	return false
}

func newLossyProxy(t *testing.T, target string) *lossyProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossyProxy{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", target)
			if err != nil {
				_ = down.Close()
				continue
			}
			var dropping atomic.Bool
			wg.Go(func() { // requests
				buf := make([]byte, 64<<10)
				for {
					n, err := down.Read(buf)
					if n > 0 && p.loses(buf[:n]) {
						dropping.Store(true)
					}
					if n > 0 {
						_, _ = up.Write(buf[:n])
					}
					if err != nil {
						_ = up.Close()
						return
					}
				}
			})
			wg.Go(func() { // replies
				buf := make([]byte, 64<<10)
				for {
					n, err := up.Read(buf)
					if dropping.Load() || (err != nil && !errors.Is(err, io.EOF)) || n == 0 {
						_ = down.Close()
						_ = up.Close()
						return
					}
					_, _ = down.Write(buf[:n])
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return p
}
