// Package redistest starts real Redis servers for tests: one per test, on a
// free port, gone when the test ends. Tests and cmd/demo's tests use it; it is
// never linked into a command.
//
// A server costs about 20 ms, so nothing is shared between tests: pub/sub,
// scripts, CONFIG SET and FLUSHALL of one test cannot reach another.
package redistest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Server is one redis-server process. Its methods are for the goroutine of the
// test, except Client, Addr and URL, which any goroutine may call.
type Server struct {
	tb   testing.TB // nil after Launch
	conf config
	dir  string
	port int
	proc *process // the latest run

	busPort int // of a cluster's node, for the other nodes

	clientOnce sync.Once
	client     *redis.Client
	ownDir     bool
}

// New starts a server in a temporary directory and stops it when the test
// ends. Without options it keeps nothing on disk and never evicts. It ends the
// test if redis-server is missing or does not start.
func New(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := &Server{
		tb:   tb,
		conf: newConfig(opts),
		dir:  tb.TempDir(),
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("redistest: %v", err)
		}
	})
	if err := s.launch(); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	return s
}

// Launch starts a server outside a test: in an Example function or TestMain.
// The caller must Close it. Where New's server would fail the test, this one
// panics.
func Launch(opts ...Option) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	s := &Server{
		conf:   newConfig(opts),
		dir:    dir,
		ownDir: true,
	}
	if err := s.launch(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the server and the client. New's servers are closed by the test.
// A second call does nothing.
func (s *Server) Close() error {
	var errs []error
	// The client may be asked for, for the first time, after Close: it is then
	// a closed one.
	if err := s.Client().Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		errs = append(errs, err)
	}
	if s.proc != nil {
		errs = append(errs, s.proc.kill())
	}
	if s.ownDir {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// Addr is the server's host:port on loopback. It stays the same over Stop and
// Start.
func (s *Server) Addr() string {
	return loopback(s.port)
}

// URL is the server as REDIS_URL, with the password if one was set.
func (s *Server) URL() string {
	u := url.URL{
		Scheme: "redis",
		Host:   s.Addr(),
		Path:   "/0",
	}
	if s.conf.password != "" {
		u.User = url.UserPassword("", s.conf.password)
	}
	return u.String()
}

// Client is the test's own client. It is closed with the server; do not close
// it. The code under test should open its own.
func (s *Server) Client() *redis.Client {
	s.clientOnce.Do(func() {
		s.client = redis.NewClient(clientOptions(s.Addr(), s.conf.password))
	})
	return s.client
}

// Stop ends the server as an operator would (SIGTERM): an append-only file is
// complete afterwards. It returns when the process is gone.
func (s *Server) Stop() {
	s.helper()
	s.check("stop", s.proc.terminate())
}

// Kill ends the server as a crash would (SIGKILL). It returns when the process
// is gone.
func (s *Server) Kill() {
	s.helper()
	s.check("kill", s.proc.kill())
}

// Start starts a stopped or killed server again, on the same port and in the
// same directory. What it remembers depends on AOF.
func (s *Server) Start() {
	s.helper()
	if s.proc.alive() {
		s.check("start", errors.New("it is running"))
		return
	}
	s.check("start", s.start())
}

// Pause freezes the server (SIGSTOP): connections stay open and nothing is
// answered. It returns when the process has stopped. The kernel still accepts
// connections for it.
func (s *Server) Pause() {
	s.helper()
	s.check("pause", s.proc.pause())
}

// Resume lets a paused server go on; what clients sent meanwhile is then
// carried out.
func (s *Server) Resume() {
	s.helper()
	s.check("resume", s.proc.resume())
}

func (s *Server) check(what string, err error) {
	if err == nil {
		return
	}
	s.helper()
	if s.tb == nil {
		panic(fmt.Sprintf("redistest: %s: %v", what, err))
	}
	s.tb.Fatalf("redistest: %s: %v", what, err)
}

func (s *Server) helper() {
	if s.tb != nil {
		s.tb.Helper()
	}
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func clientOptions(addr, password string) *redis.Options {
	return &redis.Options{
		Addr:     addr,
		Password: password,
		// A real Redis 7 has neither feature; asking costs round trips.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}
