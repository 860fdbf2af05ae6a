package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/alicebob/miniredis/v2"

	"errand.internal/internal/app"
	"errand.internal/tasks"
)

// demo is everything in one process.
type demo struct {
	redis    *miniredis.Miniredis
	vendors  *sandboxes
	events   *receiver
	web      *http.Server
	client   *tasks.Client
	redisURL string
	sandbox  string // base URL of the sandboxes
	admin    string // host:port of the worker's admin HTTP

	forget     func() // takes the schedule file away
	stopWorker context.CancelFunc
	ended      chan struct{} // closed when the worker has ended
	workerErr  error         // why, once it has
}

// Where things are, if nobody else is there.
const (
	host        = "127.0.0.1"
	redisPort   = "6390"
	adminPort   = "8080"
	vendorsPort = "8099"
)

// start starts everything. With anyPort it takes whatever ports are free.
func start(ctx context.Context, anyPort, verbose bool, stderr io.Writer) (*demo, error) {
	wanted := func(port string) string {
		if anyPort {
			return "0"
		}
		return port
	}
	d := &demo{
		redis:   miniredis.NewMiniRedis(),
		vendors: newSandboxes(),
		ended:   make(chan struct{}),
	}
	var err error
	if d.events, err = newReceiver(); err != nil {
		return nil, fmt.Errorf("make the receiver of events: %w", err)
	}
	d.redis.ClockTTL(true) // keys expire by the clock, as in a real Redis
	// miniredis opens its own sockets, so the ports are only looked up here.
	redisAddr, err := freeAddr(ctx, wanted(redisPort))
	if err != nil {
		return nil, err
	}
	if err := d.redis.StartAddr(redisAddr); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	d.redisURL = "redis://" + d.redis.Addr() + "/0"

	l, err := listen(ctx, host, wanted(vendorsPort))
	if err != nil {
		return nil, fmt.Errorf("start the sandboxes: %w", err)
	}
	d.sandbox = "http://" + l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", d.vendors.handler())
	mux.Handle(eventsMount, d.events)
	d.web = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_ = d.web.Serve(l)
	}()

	if err := d.startWorker(ctx, wanted(adminPort), verbose, stderr); err != nil {
		d.stop()
		return nil, err
	}
	d.client, err = tasks.Open(d.redisURL)
	return d, err
}

func freeAddr(ctx context.Context, port string) (string, error) {
	l, err := listen(ctx, host, port)
	if err != nil {
		return "", err
	}
	defer func() {
		_ = l.Close()
	}()
	return l.Addr().String(), nil
}

func (d *demo) startWorker(
	ctx context.Context,
	port string,
	verbose bool,
	stderr io.Writer,
) error {
	admin, err := freeAddr(ctx, port)
	if err != nil {
		return err
	}
	level := "error"
	if verbose {
		level = "info"
	}
	environ := map[string]string{
		"REDIS_URL":  d.redisURL,
		"HTTP_ADDR":  admin,
		"LOG_FORMAT": "console",
		"LOG_LEVEL":  level,
	}
	maps.Copy(environ, d.vendors.environ(d.sandbox))
	maps.Copy(environ, d.events.environ(d.sandbox))
	if environ["SCHEDULE_FILE"], d.forget, err = scheduleFile(); err != nil {
		return err
	}

	workerCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stopWorker = stop
	ready := make(chan string, 1)
	worker := app.Worker{
		Environ: environ,
		Stderr:  stderr,
		Ready: func(addr string) {
			ready <- addr
		},
	}
	go func() {
		d.workerErr = worker.Run(workerCtx)
		close(d.ended)
	}()
	select {
	case d.admin = <-ready:
		return nil
	case <-d.ended:
		return fmt.Errorf("start the worker: %w", d.workerErr)
	}
}

// stop drains the worker and ends the rest.
func (d *demo) stop() {
	if d.stopWorker != nil {
		d.stopWorker()
		<-d.ended
	}
	if d.forget != nil {
		d.forget()
	}
	if d.client != nil {
		_ = d.client.Close()
	}
	_ = d.web.Close()
	d.redis.Close()
}
