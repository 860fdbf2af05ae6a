// Package redistest starts real Redis servers for tests: each test has its own, on
// a free port, which ends with the test. The package is for tests only and never
// linked into a command.
//
// Starting a server takes about 20 ms, so tests do not share one: pub/sub, scripts,
// CONFIG SET and FLUSHALL of one test cannot affect another.
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
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"errand.internal/internal/proctest"
)

// Server is a redis-server process. Its methods belong in the test's goroutine,
// except Client, Addr and URL, which any goroutine may call.
type Server struct {
	tb   testing.TB // nil after Launch
	conf config
	dir  string
	port int
	proc *proctest.Process // the latest run

	busPort int // of a cluster node

	clientOnce sync.Once
	client     *redis.Client
	ownDir     bool
}

// New starts a server in a temporary directory and stops it when the test ends.
// By default the server does not persist and never evicts. New fails the test if
// redis-server is missing or does not start.
func New(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := &Server{
		tb:   tb,
		conf: newConfig(opts),
		dir:  tb.TempDir(),
	}
	tb.Cleanup(func() {
		if tb.Failed() && s.proc != nil {
			tb.Logf("the end of the log of %s:\n%s", s.name(), s.output())
		}
		if err := s.Close(); err != nil {
			tb.Errorf("redistest: %v", err)
		}
	})
	if err := s.launch(); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	return s
}

// Launch starts a server outside a test, in an Example function or in TestMain.
// The caller must Close it. Methods that would fail the test panic instead.
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

// Close kills the server and closes the client. Servers made by New are closed by
// the test. A second call does nothing.
func (s *Server) Close() error {
	var errs []error
	// A first call of Client after Close must return a closed client.
	if err := s.Client().Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		errs = append(errs, err)
	}
	if s.proc != nil {
		errs = append(errs, s.proc.Kill())
	}
	if s.ownDir {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// Addr is the server's host:port on loopback. Stop and Start keep it.
func (s *Server) Addr() string {
	return loopback(s.port)
}

// name tells the server from the others of its test.
func (s *Server) name() string {
	kind := "Redis"
	if s.conf.sentinel {
		kind = "the sentinel"
	}
	return kind + " " + s.Addr()
}

// URL is the server's address in the form of REDIS_URL, with the password if it has
// one.
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

// Client is the test's client, which Close closes. The code under test should open
// its own.
func (s *Server) Client() *redis.Client {
	s.clientOnce.Do(func() {
		s.client = redis.NewClient(clientOptions(s.Addr(), s.conf.password))
	})
	return s.client
}

// Stop stops the server as an operator would (SIGTERM), which completes the
// append-only file, and returns when the process has ended.
func (s *Server) Stop() {
	s.helper()
	s.check("stop", s.terminate())
}

// Kill kills the server as a crash would (SIGKILL), and returns when the process
// has ended.
func (s *Server) Kill() {
	s.helper()
	s.check("kill", s.proc.Kill())
}

// Start restarts a stopped or killed server on the same port and in the same
// directory. Which data it still has depends on AOF.
func (s *Server) Start() {
	s.helper()
	if s.proc.Alive() {
		s.check("start", errors.New("the server is running"))
		return
	}
	s.check("start", s.start())
}

// Pause freezes the server (SIGSTOP) and returns when the process has stopped.
// Connections stay open and get no answers; the kernel still accepts new ones.
func (s *Server) Pause() {
	s.helper()
	s.check("pause", s.proc.Pause())
}

// Resume continues a paused server, which then executes what clients sent
// meanwhile.
func (s *Server) Resume() {
	s.helper()
	s.check("resume", s.proc.Resume())
}

// PauseFor freezes the server, and resumes it after d.
func (s *Server) PauseFor(d time.Duration) {
	s.tb.Helper()
	s.Pause()
	resumed := make(chan struct{})
	time.AfterFunc(d, func() {
		defer close(resumed)
		s.Resume()
	})
	s.tb.Cleanup(func() { <-resumed })
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
		// Redis 7 has neither feature, and asking for them costs round trips.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}
