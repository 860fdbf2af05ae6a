package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/tasks"
)

// enqueueCommand is `enqueue TYPE …`. mainHelp describes its flags.
type enqueueCommand struct {
	Type    string   `arg:""`
	Payload string   `placeholder:"JSON|@FILE|-"`
	Set     []string `sep:"none" placeholder:"PATH=VALUE"`
	Key     *string  `placeholder:"KEY"`
	taskFlags
	Wait   *durationFlag `placeholder:"20s"`
	DryRun bool
	JSON   bool `name:"json"`
}

func (c *enqueueCommand) run(ctx context.Context, inv *invocation) (int, error) {
	opts, err := c.options(inv.now())
	if err != nil {
		return 0, err
	}
	info, payload, err := c.decode(ctx, inv)
	if err != nil {
		return 0, err
	}
	if c.DryRun {
		return c.dryRun(ctx, inv, info, payload, opts)
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
	r := produce.NewReport(c.Type, ticket, c.timing().Delayed(inv.now()))
	code := exitOK
	switch {
	case c.Wait != nil:
		wait := time.Duration(*c.Wait)
		if ticket.Outcome == "" {
			inv.printErr(stored(r) + "; waiting up to " + produce.FormatDuration(wait) + " for its outcome")
		}
		code, err = inv.waitForOutcome(ctx, client, r, wait, ticket.Outcome)
	case ticket.Duplicate:
		err = inv.readDuplicate(ctx, client, r, ticket.Outcome)
	}
	// The ID is worth printing even if the state could not be read.
	inv.printReport(r, c.JSON)
	inv.adviseUnknown(r)
	return code, err
}

// decode returns the type and the payload that the flags give.
func (c *enqueueCommand) decode(ctx context.Context, inv *invocation) (tasks.Info, tasks.Payload, error) {
	info, err := findType(c.Type, refusedf)
	if err != nil {
		return info, nil, err
	}
	raw, err := c.payload(ctx, inv, info)
	if err != nil {
		return info, nil, err
	}
	payload, err := info.Decode(raw)
	return info, payload, err
}

// stored says that a task, or an earlier one with its key, is in Redis.
func stored(r *produce.Report) string {
	if r.Duplicate {
		return r.ID + " has the key already"
	}
	return r.ID + " is stored"
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
	start, err := c.taskFlags.options(now)
	opts = append(opts, start...)
	problems = append(problems, err)
	if c.Wait != nil && *c.Wait <= 0 {
		refuse("--wait must be positive")
	}
	return opts, joinUsageErrors(problems...)
}
