// Command demo shows Errand without anything to install: an embedded Redis, a
// sandbox of every vendor, a worker and the web UI in one process. It plays a
// short story and then keeps running, so that its user can try things. Nothing
// is kept: the embedded Redis loses its data when the process ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"errand.internal/internal/sandboxes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	once := flags.Bool("once", false, "exit after the story; exit status 0 means that every step came out right")
	verbose := flags.Bool("v", false, "show the worker's log")
	vendorsOnly := flags.Bool("vendors-only", false, "serve only the vendors' sandboxes")
	addr := flags.String("addr", "127.0.0.1:8099", "with -vendors-only: the address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("the demo takes flags but no arguments; see -help")
	}
	if *vendorsOnly {
		return serveSandboxes(ctx, *addr, stdout)
	}

	s, err := start(ctx, options{
		freePorts: *once,
		verbose:   *verbose,
		stderr:    stderr,
	})
	if err != nil {
		return err
	}
	defer s.stop()
	if err := runStory(ctx, stdout, s.steps()); err != nil {
		return err
	}
	if *once {
		return nil
	}
	s.printInstructions(stdout)
	s.receiver.printTo(stdout)
	select {
	case <-ctx.Done():
		return nil
	case <-s.workerEnded:
		return s.workerErr
	}
}

// serveSandboxes serves the sandboxes until ctx ends.
func serveSandboxes(ctx context.Context, addr string, stdout io.Writer) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	list := sandboxes.New("")
	var paths []string
	for _, v := range list {
		paths = append(paths, v.Path())
	}
	_, _ = fmt.Fprintf(stdout, "vendor sandboxes on http://%s%v\n", l.Addr(), paths)
	server := &http.Server{Handler: list.Handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(l)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
