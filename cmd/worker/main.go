// Command worker runs Errand's queues.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"errand.internal/internal/app"
	"errand.internal/internal/settings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := run(ctx, os.Args[1:], settings.Environ(os.Environ()), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2 // wrong command line or settings
)

type commands struct {
	Run     struct{} `cmd:"" default:"1" help:"Run queues, scheduler and admin HTTP until SIGTERM (the default)."`
	Health  struct{} `cmd:"" help:"Ask the worker on this machine whether it is ready."`
	Version struct{} `cmd:"" help:"Print version, commit and Go version."`
}

const about = `Runs background jobs against vendor APIs. Settings come from the environment; .env.example lists them.`

func run(ctx context.Context, args []string, environ map[string]string, stdout, stderr io.Writer) (code int) {
	var cli commands
	exited := -1
	parser, err := kong.New(&cli, kong.Name("worker"), kong.Description(about),
		kong.Writers(stdout, stderr), kong.Exit(func(c int) { exited = c }))
	if err != nil {
		return fail(stderr, err)
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "worker: %v; see worker --help\n", err)
		return exitUsage
	}
	switch parsed.Command() {
	case "version":
		_, _ = fmt.Fprintln(stdout, app.VersionText())
		return exitOK
	case "health":
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := app.Health(ctx, environ); err != nil {
			return fail(stderr, err)
		}
		_, _ = fmt.Fprintln(stdout, "ready")
		return exitOK
	default:
		if err := (app.Worker{Environ: environ, Stderr: stderr}).Run(ctx); err != nil {
			return fail(stderr, err)
		}
		return exitOK
	}
}

func fail(stderr io.Writer, err error) int {
	if wrong, ok := errors.AsType[*app.ConfigError](err); ok {
		_, _ = fmt.Fprintf(stderr, "worker: the settings are wrong:\n%v\n", wrong)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "worker: %v\n", err)
	return exitFault
}
