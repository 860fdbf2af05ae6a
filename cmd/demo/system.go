package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/alicebob/miniredis/v2"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
)

// host is where everything listens.
const host = "127.0.0.1"

// The usual ports. If one is taken, the demo uses a free port instead.
const (
	redisPort     = "6390"
	adminPort     = "8080"
	sandboxesPort = "8099"
	apiPort       = "8081"
)

// apiKey is the key of the demo's HTTP interface. Only this machine can reach it.
const apiKey = "demo"

// options change how a system is started.
type options struct {
	// freePorts uses free ports even where the usual ones are not taken.
	freePorts bool
	// verbose logs what the worker does, not only its errors.
	verbose bool
	// stderr takes the worker's log.
	stderr io.Writer
	// settings are added to those of the worker.
	settings map[string]string
}

func (o options) port(usual string) string {
	if o.freePorts {
		return "0"
	}
	return usual
}

// system is the whole demo in one process: Redis, sandboxes, a receiver of events
// and a worker.
type system struct {
	redis        *miniredis.Miniredis
	sandboxes    sandbox.Vendors
	receiver     *receiver
	server       *http.Server // of sandboxes and receiver
	client       *tasks.Client
	redisURL     string
	sandboxesURL string // without a slash at its end
	adminAddr    string // of the worker's admin HTTP
	apiAddr      string // of its HTTP interface for producers

	removeSchedules func()
	stopWorker      context.CancelFunc
	workerEnded     chan struct{} // closed when the worker has ended
	workerErr       error         // valid once workerEnded is closed
}

// start starts a system, or says which part could not start. The caller must call stop.
func start(ctx context.Context, o options) (*system, error) {
	s := &system{
		redis:       miniredis.NewMiniRedis(),
		sandboxes:   sandboxes.New(""),
		workerEnded: make(chan struct{}),
	}
	if err := s.startParts(ctx, o); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *system) startParts(ctx context.Context, o options) (err error) {
	if s.receiver, err = newReceiver(); err != nil {
		return fmt.Errorf("make the receiver of events: %w", err)
	}
	if err := s.startRedis(ctx, o); err != nil {
		return err
	}
	if err := s.startServer(ctx, o); err != nil {
		return err
	}
	if err := s.startWorker(ctx, o); err != nil {
		return err
	}
	s.client, err = tasks.Open(s.redisURL)
	return err
}

func (s *system) startRedis(ctx context.Context, o options) error {
	s.redis.ClockTTL(true) // keys expire by the clock, as in a real Redis
	if err := s.redis.StartAddr(freeAddr(ctx, o.port(redisPort))); err != nil {
		return fmt.Errorf("start the embedded Redis: %w", err)
	}
	s.redisURL = "redis://" + s.redis.Addr() + "/0"
	return nil
}

// startServer serves the sandboxes and the receiver of events.
func (s *system) startServer(ctx context.Context, o options) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", freeAddr(ctx, o.port(sandboxesPort)))
	if err != nil {
		return fmt.Errorf("start the sandboxes: %w", err)
	}
	s.sandboxesURL = "http://" + l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", s.sandboxes.Handler())
	mux.Handle(eventsPath, s.receiver)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_ = s.server.Serve(l)
	}()
	return nil
}

// startWorker returns once the worker takes tasks.
func (s *system) startWorker(ctx context.Context, o options) error {
	environ, err := s.environ(ctx, o)
	if err != nil {
		return err
	}
	workerCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stopWorker = cancel
	ready := make(chan string, 1)
	worker := app.Worker{
		Environ: environ,
		Stderr:  o.stderr,
		ReadyAPI: func(addr string) {
			s.apiAddr = addr
		},
		Ready: func(addr string) {
			ready <- addr
		},
	}
	go func() {
		s.workerErr = worker.Run(workerCtx)
		close(s.workerEnded)
	}()
	select {
	case s.adminAddr = <-ready:
		return nil
	case <-s.workerEnded:
		return fmt.Errorf("start the worker: %w", s.workerErr)
	}
}

// environ returns the worker's settings.
func (s *system) environ(ctx context.Context, o options) (environ map[string]string, err error) {
	level := "error"
	if o.verbose {
		level = "info"
	}
	environ = map[string]string{
		"REDIS_URL":  s.redisURL,
		"HTTP_ADDR":  freeAddr(ctx, o.port(adminPort)),
		"API_ADDR":   freeAddr(ctx, o.port(apiPort)),
		"API_KEYS":   httpapi.Entry("demo", apiKey),
		"LOG_FORMAT": "console",
		"LOG_LEVEL":  level,
	}
	if list := scheduleList(sandboxes.Vendors); list != "" {
		environ["SCHEDULE_FILE"], s.removeSchedules, err = writeSchedules(list)
		if err != nil {
			return nil, err
		}
	}
	maps.Copy(environ, s.sandboxes.Environ(s.sandboxesURL))
	maps.Copy(environ, s.receiver.environ(s.sandboxesURL))
	maps.Copy(environ, o.settings)
	return environ, nil
}

// stop drains the worker and then stops the other parts.
func (s *system) stop() {
	if s.stopWorker != nil {
		s.stopWorker()
		<-s.workerEnded
	}
	if s.removeSchedules != nil {
		s.removeSchedules()
	}
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.server != nil {
		_ = s.server.Close()
	}
	s.redis.Close()
}

// freeAddr returns where a part listens: on a port of the host, or on any free one, which is
// known once it listens, if the port is "0" or taken.
func freeAddr(ctx context.Context, port string) string {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return net.JoinHostPort(host, "0")
	}
	_ = l.Close()
	return net.JoinHostPort(host, port)
}
