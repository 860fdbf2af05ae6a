// Command demo shows Errand without anything to install: an embedded Redis, a
// sandbox of every vendor, a worker and the web UI in one process. It plays a
// short story and then stays up. It is for trying things out: the embedded
// Redis forgets everything when the process ends.
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
	once := flags.Bool(
		"once",
		false,
		"end after the story; fails unless every step came out right",
	)
	verbose := flags.Bool("v", false, "show the worker's log")
	vendorsOnly := flags.Bool("vendors-only", false, "serve the vendors' sandboxes alone")
	addr := flags.String("addr", "127.0.0.1:8099", "with -vendors-only: where to listen")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("no arguments are taken, only flags; see -help")
	}
	if *vendorsOnly {
		return serveVendors(ctx, *addr, stdout)
	}

	d, err := start(ctx, *once, *verbose, stderr)
	if err != nil {
		return err
	}
	defer d.stop()
	if err := d.play(ctx, stdout); err != nil {
		return err
	}
	if *once {
		return nil
	}
	d.invite(stdout)
	select {
	case <-ctx.Done():
		return nil
	case <-d.ended:
		return d.workerErr
	}
}

// listen takes the wanted address, or any free port of the host if it is taken
// or none is wanted.
func listen(ctx context.Context, host, port string) (net.Listener, error) {
	var lc net.ListenConfig
	if l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port)); err == nil {
		return l, nil
	}
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
}

// serveVendors serves the sandboxes until ctx ends.
func serveVendors(ctx context.Context, addr string, stdout io.Writer) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	s := newSandboxes()
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	var paths []string
	for _, m := range s.mounts() {
		paths = append(paths, m.path)
	}
	_, _ = fmt.Fprintf(stdout, "vendor sandboxes on http://%s%v\n", l.Addr(), paths)
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(l)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
