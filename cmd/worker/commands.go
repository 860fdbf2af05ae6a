package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/app"
	"errand.internal/internal/buildinfo"
	"errand.internal/internal/doctor"
	"errand.internal/internal/httpapi"
)

// command is a subcommand.
type command interface {
	run(ctx context.Context, inv *invocation) error
}

// commands is the command line. Each of its commands without subcommands is a
// command.
type commands struct {
	Run         runCommand         `cmd:"" default:"1" help:"Run queues, scheduler and admin HTTP until SIGTERM (default)."`
	Doctor      doctorCommand      `cmd:"" help:"Check settings, Redis, queues and vendors, and suggest fixes."`
	Credentials credentialCommand  `cmd:"" help:"Manage the credentials, whose state all workers share."`
	Schedule    scheduleCommand    `cmd:"" help:"Inspect and run schedules."`
	Explain     explainCommand     `cmd:"" help:"Tell what became of a task, why, and what to do now."`
	Tasks       tasksCommand       `cmd:"" help:"List tasks."`
	DeadLetters deadLetterCommand  `cmd:"" help:"List, show, replay or export the tasks that ended archived."`
	Forget      forgetCommand      `cmd:"" help:"Erase what is kept of a person, and print what is kept and why."`
	Pause       pauseCommand       `cmd:"" help:"Let no task of a queue or an account start, for a time."`
	Resume      resumeCommand      `cmd:"" help:"End the pause of a queue or an account."`
	Audit       auditCommand       `cmd:"" help:"Print who did what to the fleet."`
	Offboarding offboardingCommand `cmd:"" help:"List or export the state of every inactivation."`
	Events      eventsCommand      `cmd:"" help:"Manage the delivery of events."`
	APIKey      apiKeyCommand      `cmd:"" name:"api-key" help:"Make a key of the HTTP interface."`
	Health      healthCommand      `cmd:"" help:"Check whether the worker on this machine is ready."`
	Version     versionCommand     `cmd:"" help:"Print the version, commit and Go version."`
}

// printResult prints the result of a command that returns one line.
func (inv *invocation) printResult(text string, err error) error {
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(inv.stdout, text)
	return nil
}

type runCommand struct{}

func (*runCommand) run(ctx context.Context, inv *invocation) error {
	return app.Worker{
		Environ: inv.environ,
		Stderr:  inv.stderr,
		Reload:  app.OnHangup(),
	}.Run(ctx)
}

type doctorCommand struct {
	JSON bool `name:"json" help:"Print one JSON object: ok and checks (name, level, seen, fix)."`
}

// Help returns the detailed help that kong prints.
func (*doctorCommand) Help() string {
	return `The exit code is 1 if a check fails.`
}

// errChecksFailed ends doctor with exit code 1. The report names the checks.
var errChecksFailed = errors.New("a check failed")

func (c *doctorCommand) run(ctx context.Context, inv *invocation) error {
	diagnosis := doctor.Run(ctx, inv.environ)
	var err error
	if c.JSON {
		err = json.NewEncoder(inv.stdout).Encode(diagnosis)
	} else {
		err = diagnosis.WriteText(inv.stdout)
	}
	if err == nil && !diagnosis.OK() {
		err = errChecksFailed
	}
	return err
}

type credentialCommand struct {
	Clear clearCommand `cmd:"" help:"Let all workers retry a refused credential at once."`
}

type clearCommand struct {
	Profile string `arg:"" help:"Name of the credential in doctor and the log, such as dckap."`
}

// Help returns the detailed help that kong prints.
func (c *clearCommand) Help() string {
	return `Use it after the account was unlocked at the vendor. It needs the workers' settings.`
}

func (c *clearCommand) run(ctx context.Context, inv *invocation) error {
	text, err := app.ClearCoolDown(ctx, inv.environ, c.Profile)
	return inv.printResult(text, operatorError(ctx, err))
}

type scheduleCommand struct {
	List listSchedulesCommand `cmd:"" default:"1" help:"List the schedules with their next and last ticks (default)."`
	Next nextTicksCommand     `cmd:"" help:"Print the next N ticks of a schedule, in its time zone."`
	Run  runScheduleCommand   `cmd:"" help:"Enqueue one tick of a schedule now, in addition to its regular ones."`
}

type listSchedulesCommand struct{}

func (*listSchedulesCommand) run(ctx context.Context, inv *invocation) error {
	return operatorError(ctx, app.ListSchedules(ctx, inv.environ, inv.stdout))
}

type nextTicksCommand struct {
	N    int    `arg:"" help:"Number of ticks."`
	Name string `arg:"" help:"Name of the schedule."`
}

func (c *nextTicksCommand) run(_ context.Context, inv *invocation) error {
	return app.NextTicks(inv.environ, c.N, c.Name, inv.stdout)
}

type runScheduleCommand struct {
	Name string `arg:"" help:"Name of the schedule."`
}

func (c *runScheduleCommand) run(ctx context.Context, inv *invocation) error {
	text, err := app.RunSchedule(ctx, inv.environ, c.Name)
	return inv.printResult(text, operatorError(ctx, err))
}

// offboardingCommand is `worker offboarding`: its two subcommands print the same lines.
type offboardingCommand struct {
	Export exportOffboardingCommand `cmd:"" default:"withargs" help:"Export inactivations as JSON lines (default)."`
	List   exportOffboardingCommand `cmd:"" help:"The same."`
}

type exportOffboardingCommand struct {
	Unconfirmed bool `help:"Export only inactivations that the vendor has not confirmed."`
	JSON        bool `name:"json" help:"JSON lines are all there is; the flag is taken like everywhere."`
}

func (c *exportOffboardingCommand) run(ctx context.Context, inv *invocation) error {
	return operatorError(ctx, app.ExportOffboarding(ctx, inv.environ, c.Unconfirmed, inv.stdout))
}

type eventsCommand struct {
	Resume resumeEventsCommand `cmd:"" help:"Send events again to a receiver that answered 410 Gone."`
}

type resumeEventsCommand struct{}

// Help returns the detailed help that kong prints.
func (*resumeEventsCommand) Help() string {
	return `It needs the workers' settings.`
}

func (*resumeEventsCommand) run(ctx context.Context, inv *invocation) error {
	text, err := app.ResumeEvents(ctx, inv.environ)
	return inv.printResult(text, operatorError(ctx, err))
}

type apiKeyCommand struct {
	Name  string   `arg:"" help:"Name of its user, such as shop; it stands in metrics, logs and records."`
	Types []string `placeholder:"TYPE" help:"The task types that it may enqueue. Default: all."`
	Read  bool     `help:"Let it read the tasks and results of every key, not only its own."`
	JSON  bool     `name:"json" help:"Print one JSON object: key and entry."`
}

// Help returns the detailed help that kong prints.
func (*apiKeyCommand) Help() string {
	return `The key is shown this once. Its entry belongs into API_KEYS, or the file that API_KEYS_FILE names, of every
worker that serves the HTTP interface (docs/producing.md). To take a key back, remove its entry.`
}

// Validate makes a wrong name or type a fault of the command line.
func (c *apiKeyCommand) Validate() error {
	_, err := httpapi.MakeKey(c.Name, c.Types, c.Read)
	return err
}

func (c *apiKeyCommand) run(_ context.Context, inv *invocation) error {
	return app.MakeAPIKey(inv.stdout, c.Name, c.Types, c.Read, c.JSON)
}

type healthCommand struct{}

// Help returns the detailed help that kong prints.
func (*healthCommand) Help() string {
	return `The exit code is 1 if it is not.`
}

// healthTimeout bounds the health check.
const healthTimeout = 5 * time.Second

func (*healthCommand) run(ctx context.Context, inv *invocation) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return inv.printResult("ready", app.Health(ctx, inv.environ))
}

type versionCommand struct{}

func (*versionCommand) run(_ context.Context, inv *invocation) error {
	return inv.printResult(buildinfo.Text(), nil)
}
