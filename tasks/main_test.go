package tasks_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/redistest"
	"errand.internal/internal/sandboxes"
)

// redisURL is the Redis of the examples.
var redisURL string

// mailbox reads the code that the person of the examples got.
var mailbox func(idRequest string) string

// The examples need a worker that outlives each of them.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		server, err := redistest.Launch()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = server.Close() }()
		vendors := sandboxes.New("")
		web := httptest.NewServer(vendors.Handler())
		defer web.Close()
		environ := vendors.Environ(web.URL)
		environ["REDIS_URL"] = server.URL()
		environ["HTTP_ADDR"] = ""
		environ["LOG_LEVEL"] = "error"
		ctx, cancel := context.WithCancel(context.Background())
		ready := make(chan string, 1)
		ended := make(chan error, 1)
		worker := app.Worker{
			Environ: environ,
			Stderr:  os.Stderr,
			Ready:   func(addr string) { ready <- addr },
		}
		go func() { ended <- worker.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				_, _ = fmt.Fprintln(os.Stderr, err)
			}
		}()
		select {
		case <-ready:
		case err := <-ended:
			_, _ = fmt.Fprintln(os.Stderr, err)
			ended <- nil
			return 1
		}
		redisURL = server.URL()
		mailbox = sandbox.Find[*danaconnecttest.Sandbox](vendors).Code
		return m.Run()
	}())
}
