package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

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

const (
	// maxDelay is how far ahead a task may be scheduled.
	maxDelay = 10 * 365 * 24 * time.Hour
	// maxPast is how far in the past --at may lie, because a script takes a moment
	// to start the command. An older time is probably a wrong year or time zone.
	maxPast = time.Minute
	// storeTimeout bounds all the steps of storing one task, so that a Redis that
	// does not answer is reported within 3 s.
	storeTimeout = 2700 * time.Millisecond
)

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

	ticket, err := enqueueTask(ctx, client, payload, opts)
	if err != nil {
		return 0, err
	}
	r := &report{
		ID:        ticket.ID,
		Type:      c.Type,
		Queue:     payload.Policy().Queue,
		Duplicate: ticket.Duplicate,
	}
	switch {
	case ticket.Duplicate: // the state is read below
	case c.delayed(inv.now()):
		r.State = string(record.Scheduled)
	default:
		r.State = string(record.Pending)
	}
	code := exitOK
	switch {
	case c.Wait != nil:
		wait := time.Duration(*c.Wait)
		inv.printErr(r.ID + " is stored; waiting up to " + formatDuration(wait) + " for its outcome")
		code, err = inv.waitForOutcome(ctx, client, r, wait, ticket.Outcome)
	case ticket.Duplicate:
		err = inv.readDuplicate(ctx, client, r, ticket.Outcome)
	}
	// The ID is worth printing even if the state could not be read.
	inv.printReport(r, c.JSON)
	return code, err
}

// delayed reports whether the task is to start later.
func (c *enqueueCommand) delayed(now time.Time) bool {
	return c.In != nil && *c.In > 0 || c.At != nil && time.Time(*c.At).After(now)
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
	timing, err := c.timing(now)
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

// timing checks the flags that say when the task may run, and returns their
// options.
func (c *enqueueCommand) timing(now time.Time) ([]tasks.Option, error) {
	var opts []tasks.Option
	var problems []error
	check := func(flag string, d, least time.Duration, tooSmall string, option tasks.Option) {
		switch {
		case d < least:
			problems = append(problems, errors.New(flag+" "+tooSmall))
		case d > maxDelay:
			problems = append(problems, errors.New(flag+" must be within ten years"))
		default:
			opts = append(opts, option)
		}
	}
	if c.In != nil {
		d := time.Duration(*c.In)
		check("--in", d, 0, "must not be negative", tasks.In(d))
	}
	if c.At != nil {
		at := time.Time(*c.At)
		check("--at", at.Sub(now), -maxPast, "must not be in the past", tasks.At(at))
	}
	if c.UsableFor != nil {
		d := time.Duration(*c.UsableFor)
		check("--usable-for", d, time.Millisecond, "must be positive", tasks.UsableFor(d))
	}
	return opts, errors.Join(problems...)
}

// enqueueTask stores one task. A signal before it starts prevents it; a later one
// does not abort it, because then it would be unknown whether the task is stored.
func enqueueTask(
	ctx context.Context,
	client *tasks.Client,
	p tasks.Payload,
	opts []tasks.Option,
) (*tasks.Ticket[json.RawMessage], error) {
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return client.EnqueuePayload(ctx, p, opts...)
}
