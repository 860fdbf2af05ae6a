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

	"github.com/alecthomas/kong"

	"errand.internal/internal/app"
	"errand.internal/internal/config"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/settings"
)

func main() {
	redisconn.LogNothingByDefault() // the errors of the commands say what went wrong
	ctx := untilSignal()
	os.Exit(run(ctx, os.Args[1:], settings.Environ(os.Environ()), os.Stdout, os.Stderr))
}

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. A second
// one ends the process at once, also as process 1 of a container, which has no default
// for signals.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		cancel()
		again := <-signals
		number, _ := again.(syscall.Signal)
		os.Exit(exitSignal + int(number))
	}()
	return ctx
}

// Exit codes.
const (
	exitOK      = 0 // also after one SIGTERM or SIGINT
	exitFailure = 1
	exitUsage   = 2 // wrong command line or settings
	// The codes of the commands of operators beside these, as those of enqueue.
	exitRefused     = 3
	exitRedis       = 4  // Redis cannot be reached
	exitNoTask      = 13 // or it is no longer kept
	exitInterrupted = 130
	// exitSignal and the number of a signal are the code after the second one, as a
	// shell would report it: 143 for SIGTERM.
	exitSignal = 128
)

const description = "Runs background tasks that call vendor APIs. " +
	"Settings come from the environment; .env.example lists them."

// invocation holds the environment and the output streams of one run of the
// command.
type invocation struct {
	environ map[string]string
	stdout  io.Writer
	stderr  io.Writer
}

// run executes the command line and returns the exit code.
func run(
	ctx context.Context,
	args []string,
	environ map[string]string,
	stdout, stderr io.Writer,
) int {
	inv := &invocation{
		environ: environ,
		stdout:  stdout,
		stderr:  stderr,
	}
	cmd, code, err := inv.parse(args)
	switch {
	case err != nil:
		inv.printError(err)
		return code
	case cmd == nil:
		return code
	}
	return inv.exitCode(cmd.run(ctx, inv))
}

// parse parses the command line. It returns neither a command nor an error once it
// has printed the help. The code is the exit code if there is no command.
func (inv *invocation) parse(args []string) (command, int, error) {
	var cli commands
	exited := -1
	parser, err := kong.New(
		&cli,
		kong.Name("worker"),
		kong.Description(description),
		kong.Writers(inv.stdout, inv.stderr),
		kong.Exit(func(code int) {
			exited = code
		}),
	)
	if err != nil {
		return nil, exitFailure, err
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited >= 0:
		return nil, exited, nil
	case err != nil:
		return nil, exitUsage, fmt.Errorf("%w; see %s --help", err, commandOf(err))
	}
	return parsed.Selected().Target.Addr().Interface().(command), exitOK, nil
}

// commandOf is the command that a fault of the command line is about.
func commandOf(err error) string {
	if fault, ok := errors.AsType[*kong.ParseError](err); ok && fault.Context.Selected() != nil {
		return fault.Context.Selected().FullPath()
	}
	return "worker"
}

// exitCode prints an error and returns its exit code.
func (inv *invocation) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errChecksFailed) { // the report has been printed
		return exitFailure
	}
	if invalid, ok := errors.AsType[*config.Error](err); ok {
		_, _ = fmt.Fprintf(inv.stderr, "worker: the settings are invalid:\n%v\n", invalid)
		return exitUsage
	}
	if redisconn.NoDatabase(err) {
		_, _ = fmt.Fprintf(inv.stderr, "worker: the settings are invalid:\n%v\n", redisconn.ErrNoDatabase)
		return exitUsage
	}
	inv.printError(err)
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, wrong := errors.AsType[*app.ArgumentError](err); wrong {
		return exitUsage
	}
	return exitFailure
}

func (inv *invocation) printError(err error) {
	_, _ = fmt.Fprintf(inv.stderr, "worker: %v\n", err)
}
