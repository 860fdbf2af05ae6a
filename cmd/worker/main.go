// Command worker runs Errand's queues.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"errand.internal/internal/app"
	"errand.internal/internal/config"
	"errand.internal/internal/doctor"
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
	Run    struct{} `cmd:"" default:"1" help:"Run queues, scheduler and admin HTTP until SIGTERM (the default)."`
	Doctor struct {
		JSON bool `name:"json" help:"Print one JSON object: ok and checks (name, level, seen, fix)."`
	} `cmd:"" help:"Check settings, Redis, queues and vendors, and say how to mend what is wrong; exit 1 if anything fails."`
	Credentials struct {
		Clear struct {
			Profile string `arg:"" help:"The credential's name in doctor and log, such as anna."`
		} `cmd:"" help:"Let a credential that was refused be tried again at once by all workers, after its account was unlocked at the vendor. Needs the workers' settings."`
	} `cmd:"" help:"Credentials as the fleet shares them."`
	Schedule struct {
		List struct{} `cmd:"" default:"1" help:"List the schedules of SCHEDULE_FILE with their next and last ticks (the default)."`
		Next struct {
			N    int    `arg:"" help:"How many."`
			Name string `arg:"" help:"The schedule's name."`
		} `cmd:"" help:"Print the next N ticks of a schedule, in its time zone."`
		Run struct {
			Name string `arg:"" help:"The schedule's name."`
		} `cmd:"" help:"Enqueue one tick of a schedule now, beside its own ticks."`
	} `cmd:"" help:"What runs on a schedule."`
	DeadLetters struct {
		Queue string `help:"Only those of one queue."`
	} `cmd:"" help:"Export the tasks that ended archived, as JSON lines."`
	Offboarding struct {
		Unconfirmed bool `help:"Only those that the vendor has not confirmed."`
	} `cmd:"" help:"Export what became of each inactivation, as JSON lines."`
	Events struct {
		Resume struct{} `cmd:"" help:"Send events again to a receiver that has answered 410 Gone. Needs the workers' settings."`
	} `cmd:"" help:"Events to the operator's own system."`
	Health  struct{} `cmd:"" help:"Ask the worker on this machine whether it is ready."`
	Version struct{} `cmd:"" help:"Print version, commit and Go version."`
}

const about = `Runs background jobs against vendor APIs. Settings come from the environment; .env.example lists them.`

func run(
	ctx context.Context,
	args []string,
	environ map[string]string,
	stdout, stderr io.Writer,
) (code int) {
	var cli commands
	exited := -1
	parser, err := kong.New(&cli, kong.Name("worker"), kong.Description(about),
		kong.Writers(stdout, stderr), kong.Exit(func(c int) {
			exited = c
		}))
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
	case "doctor":
		return runDoctor(ctx, environ, cli.Doctor.JSON, stdout, stderr)
	case "credentials clear <profile>":
		text, err := app.ClearCoolDown(ctx, environ, cli.Credentials.Clear.Profile)
		if err != nil {
			return fail(stderr, err)
		}
		_, _ = fmt.Fprintln(stdout, text)
		return exitOK
	case "schedule list":
		return exported(stderr, app.ListSchedules(ctx, environ, stdout))
	case "schedule next <n> <name>":
		return exported(
			stderr,
			app.NextTicks(environ, cli.Schedule.Next.N, cli.Schedule.Next.Name, stdout),
		)
	case "schedule run <name>":
		text, err := app.RunSchedule(ctx, environ, cli.Schedule.Run.Name)
		if err != nil {
			return fail(stderr, err)
		}
		_, _ = fmt.Fprintln(stdout, text)
		return exitOK
	case "dead-letters":
		return exported(
			stderr,
			app.ExportDeadLetters(ctx, environ, cli.DeadLetters.Queue, stdout),
		)
	case "offboarding":
		return exported(
			stderr,
			app.ExportOffboarding(ctx, environ, cli.Offboarding.Unconfirmed, stdout),
		)
	case "events resume":
		text, err := app.ResumeEvents(ctx, environ)
		if err != nil {
			return fail(stderr, err)
		}
		_, _ = fmt.Fprintln(stdout, text)
		return exitOK
	default:
		if err := (app.Worker{Environ: environ, Stderr: stderr}).Run(ctx); err != nil {
			return fail(stderr, err)
		}
		return exitOK
	}
}

func exported(stderr io.Writer, err error) int {
	if err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

func runDoctor(
	ctx context.Context,
	environ map[string]string,
	asJSON bool,
	stdout, stderr io.Writer,
) int {
	found := doctor.Run(ctx, environ)
	var err error
	if asJSON {
		err = json.NewEncoder(stdout).Encode(found)
	} else {
		err = found.WriteText(stdout)
	}
	if err != nil {
		return fail(stderr, err)
	}
	if !found.OK() {
		return exitFault
	}
	return exitOK
}

func fail(stderr io.Writer, err error) int {
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		_, _ = fmt.Fprintf(stderr, "worker: the settings are wrong:\n%v\n", wrong)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "worker: %v\n", err)
	return exitFault
}
