package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// enqueueCommand is `enqueue TYPE …`. mainHelp describes its flags.
type enqueueCommand struct {
	Type      string        `arg:""`
	Payload   string        `placeholder:"JSON|@FILE|-"`
	Set       []string      `sep:"none" placeholder:"PATH=VALUE"`
	Key       *string       `placeholder:"KEY"`
	In        *durationFlag `xor:"start" placeholder:"10m"`
	At        *timeFlag     `xor:"start" placeholder:"TIME"`
	UsableFor *durationFlag `placeholder:"90s"`
	Wait      *durationFlag `placeholder:"20s"`
	Notify    bool
	DryRun    bool
	JSON      bool `name:"json"`
}

func (c *enqueueCommand) run(ctx context.Context, inv *invocation) (int, error) {
	opts, err := c.options(inv.now())
	if err != nil {
		return 0, err
	}
	info, err := findType(c.Type, refusedf)
	if err != nil {
		return 0, err
	}
	raw, err := c.payload(ctx, inv, info)
	if err != nil {
		return 0, err
	}
	payload, err := info.Decode(raw)
	if err != nil {
		return 0, err
	}
	if c.DryRun {
		return c.dryRun(ctx, inv, info, payload)
	}
	client, err := inv.openClient(true)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()

	if ctx.Err() != nil { // a later signal does not abort the storing
		return 0, errInterrupted
	}
	ticket, err := produce.Enqueue(ctx, client, payload, opts)
	if err != nil {
		return 0, err
	}
	r := &produce.Report{
		ID:        ticket.ID,
		Type:      c.Type,
		Queue:     payload.Policy().Queue,
		Duplicate: ticket.Duplicate,
	}
	switch {
	case ticket.Duplicate: // the state is read below
	case c.timing().Delayed(inv.now()):
		r.State = string(record.Scheduled)
	default:
		r.State = string(record.Pending)
	}
	code := exitOK
	switch {
	case c.Wait != nil:
		wait := time.Duration(*c.Wait)
		inv.printErr(r.ID + " is stored; waiting up to " + produce.FormatDuration(wait) + " for its outcome")
		code, err = inv.waitForOutcome(ctx, client, r, wait, ticket.Outcome)
	case ticket.Duplicate:
		err = inv.readDuplicate(ctx, client, r, ticket.Outcome)
	}
	// The ID is worth printing even if the state could not be read.
	inv.printReport(r, c.JSON)
	return code, err
}

// options checks the flags and returns the options to enqueue with.
func (c *enqueueCommand) options(now time.Time) ([]tasks.Option, error) {
	var opts []tasks.Option
	var problems []error
	refuse := func(text string) {
		problems = append(problems, errors.New(text))
	}
	if c.Key != nil {
		if strings.TrimSpace(*c.Key) == "" {
			refuse("--key must not be empty; omit it to enqueue without a key")
		}
		opts = append(opts, tasks.Key(*c.Key))
	}
	timing, err := c.timing().Options(now, timingFlags)
	opts = append(opts, timing...)
	problems = append(problems, err)
	if c.Wait != nil && *c.Wait <= 0 {
		refuse("--wait must be positive")
	}
	if c.Notify {
		opts = append(opts, tasks.Notify())
	}
	return opts, joinUsageErrors(problems...)
}

// timingFlags are the flags of a Timing.
var timingFlags = produce.TimingNames{
	In:        "--in",
	At:        "--at",
	UsableFor: "--usable-for",
}

// timing returns what the flags say about when the task may run.
func (c *enqueueCommand) timing() produce.Timing {
	return produce.Timing{
		In:        (*time.Duration)(c.In),
		At:        (*time.Time)(c.At),
		UsableFor: (*time.Duration)(c.UsableFor),
	}
}
