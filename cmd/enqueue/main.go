// Command enqueue validates and enqueues tasks, and reports their state and
// outcome.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"errand.internal/internal/buildinfo"
	"errand.internal/internal/produce"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/settings"
	"errand.internal/internal/tracing"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)   // a second signal ends the process at once
	redisconn.LogTo(zerolog.Nop()) // every error is reported where it is handled
	code := run(ctx, os.Args[1:], settings.Environ(os.Environ()), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is a subcommand. run returns an exit code, or an error that exitCodeOf
// maps to one.
type command interface {
	run(ctx context.Context, inv *invocation) (int, error)
}

type commands struct {
	Enqueue enqueueCommand `cmd:"" default:"withargs" help:"Validate and enqueue one task (the default)."`
	Bulk    bulkCommand    `cmd:"" help:"Enqueue one task per row of a JSONL or CSV file."`
	Types   typesCommand   `cmd:"" help:"List the task types, or describe one."`
	Status  statusCommand  `cmd:"" help:"Show a task's state, outcome and every attempt."`
	Cancel  cancelCommand  `cmd:"" help:"Cancel a task that has not been attempted yet."`

	Completion completionCommand `cmd:"" help:"Print a completion script for a shell."`
	Version    kong.VersionFlag  `help:"Print the version."`
}

// invocation holds the environment, streams and clock of one run of the command.
type invocation struct {
	environ map[string]string
	stdin   io.Reader
	stdout  *output
	stderr  io.Writer
	now     func() time.Time
}

// output remembers the first write error, so that a full disk or a closed pipe does
// not end in success.
type output struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// run executes the command line and returns the exit code.
func run(
	ctx context.Context,
	args []string,
	environ map[string]string,
	stdin io.Reader,
	stdout, stderr io.Writer,
) int {
	inv := &invocation{
		environ: environ,
		stdin:   stdin,
		stdout:  &output{w: stdout},
		stderr:  stderr,
		now:     time.Now,
	}
	code, err := inv.execute(ctx, args)
	if err != nil {
		code = exitCodeOf(ctx, err)
		inv.reportError(code, err)
	}
	if inv.stdout.err != nil && code == exitOK {
		inv.printErr(fmt.Sprintf("cannot write the output: %v", inv.stdout.err))
		return exitUnexpected
	}
	return code
}

func (inv *invocation) execute(ctx context.Context, args []string) (code int, err error) {
	defer produce.RecoverPanic(&err)
	cmd, code, err := inv.parse(args)
	if cmd == nil || err != nil {
		return code, err
	}
	return cmd.run(tracing.With(ctx, inv.environ["TRACEPARENT"]), inv)
}

// parse parses the command line. It returns neither a command nor an error once it
// has printed the help.
func (inv *invocation) parse(args []string) (command, int, error) {
	for i, arg := range args {
		if !utf8.ValidString(arg) { // kong would replace the bytes, and a mutilated name reach the vendor
			return nil, exitOK, refusedf("argument %d must be UTF-8", i+1)
		}
	}
	var cli commands
	exited := -1
	parser, err := newParser(&cli, inv, kong.Exit(func(code int) {
		exited = code
	}))
	if err != nil {
		return nil, exitUnexpected, err
	}
	parsed, err := parser.Parse(joinNegativeValues(args))
	switch {
	case exited >= 0:
		return nil, exited, nil
	case err != nil:
		return nil, exitUsage, usagef("%s; see %s --help", clarify(err), commandName)
	}
	return parsed.Selected().Target.Addr().Interface().(command), exitOK, nil
}

// newParser returns the parser of the command line.
func newParser(cli *commands, inv *invocation, opts ...kong.Option) (*kong.Kong, error) {
	opts = append(
		opts,
		kong.Name(commandName),
		kong.Description(description),
		kong.Vars{"version": buildinfo.Text()},
		kong.Help(printHelp),
		kong.Writers(inv.stdout, inv.stderr),
	)
	return kong.New(cli, opts...)
}

// unclear are texts of kong, and what they mean to a user.
var unclear = strings.NewReplacer(
	`expected value value but got "EOL" (<EOL>)`, "needs a value",
	`missing value, expecting "<arg>"`, "needs a value",
	`, did you mean "-h"?`, "",
	`expected "<file>"`, "FILE is missing",
	`expected "<id>"`, "ID is missing",
)

// clarify returns the text of a parse error.
func clarify(err error) string {
	return unclear.Replace(err.Error())
}
