package apptest

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"errand.internal/internal/app"
	"errand.internal/tasks"
)

// Worker is a running worker.
type Worker struct {
	// Admin is the address of its admin HTTP.
	Admin string
	// API is the address of its HTTP interface; empty if it has none.
	API string
	Log *Log
	// Client enqueues tasks for it.
	Client *tasks.Client
	// Hangup tells it what SIGHUP would.
	Hangup func()
	// Stop has it drain, and returns what Run returned. It may be called more than
	// once.
	Stop func() error
}

// Start runs a worker with the fixture's settings until the test ends.
func (f *Fixture) Start(t testing.TB) *Worker {
	t.Helper()
	w := &Worker{Log: NewLog()}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	reload := make(chan os.Signal, 1)
	w.Hangup = func() { reload <- syscall.SIGHUP }
	worker := app.Worker{
		Environ:  f.With(nil),
		Now:      f.Now,
		Reload:   reload,
		Stderr:   w.Log,
		Ready:    func(addr string) { ready <- addr },
		ReadyAPI: func(addr string) { w.API = addr },
	}
	go func() {
		ended <- worker.Run(ctx)
	}()
	w.Stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		w.Log.Check(t)
	})
	select {
	case w.Admin = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	w.Client = f.Client(t)
	return w
}

// Get requests a page of the worker's admin HTTP.
func (w *Worker) Get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.Admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// Run enqueues a task and waits up to 20 seconds for its result.
func Run[R any](t testing.TB, w *Worker, task tasks.Task[R], opts ...tasks.Option) (R, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticket, err := tasks.Enqueue(ctx, w.Client, task, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ticket.Wait(ctx)
}
