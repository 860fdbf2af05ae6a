package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// enqueueCommand is `enqueue TYPE …`.
type enqueueCommand struct {
	Type      string   `arg:"" help:"Task type; 'enqueue types' lists them."`
	Payload   string   `placeholder:"JSON|@FILE|-" help:"The payload: JSON, @FILE, or - for stdin. Default: {}."`
	Set       []string `sep:"none" placeholder:"PATH=VALUE" help:"Set one field of the payload, such as values.COD1_EMAIL=ana@example.com. May be repeated; goes on top of --payload, the last one of a path counts."`
	Key       *string  `placeholder:"KEY" help:"Enqueue only once per type and key, however often it is asked for."`
	In        *durationFlag    `xor:"start" placeholder:"10m" help:"Start after this long."`
	At        *timeFlag `xor:"start" placeholder:"TIME" help:"Start at this time (RFC 3339). Up to a minute ago means now; an earlier time is refused."`
	UsableFor *durationFlag    `placeholder:"90s" help:"End the task as expired if it could not run within this time of its start."`
	Wait      *durationFlag    `placeholder:"20s" help:"Wait this long for the outcome; it is the exit code."`
	Notify    bool     `help:"Have a task.finished event sent when the task ends."`
	DryRun    bool     `help:"Only check, and show the request that the vendor would get."`
	JSON      bool     `name:"json" help:"Print one JSON object."`
}

const (
	// maxDelay is how far ahead a task may be put.
	maxDelay = 10 * 365 * 24 * time.Hour
	// maxPast is how old an --at may be: a script takes a moment to get here. An
	// older one is rather a wrong year or zone, and what it asks for is over.
	maxPast = time.Minute
	// storeTimeout bounds all the steps of storing one task, so that Redis is
	// reported within 3 s if it does not answer.
	storeTimeout = 2700 * time.Millisecond
)

func (c *enqueueCommand) run(ctx context.Context, inv *invocation) (int, error) {
	opts, err := c.options(inv.now())
	if err != nil {
		return 0, err
	}
	info, ok := tasks.Find(c.Type)
	if !ok {
		return 0, unknownTypeError(c.Type)
	}
	raw, err := c.payload(ctx, inv, info)
	if err != nil {
		return 0, err
	}
	payload, err := tasks.DecodePayload(c.Type, raw)
	if err != nil {
		return 0, err
	}
	if c.DryRun {
		return c.dryRun(ctx, inv, info, raw)
	}
	client, err := inv.openClient(true)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()

	ticket, err := enqueueTask(ctx, client, c.Type, raw, opts)
	if err != nil {
		return 0, err
	}
	r := &report{
		ID:        ticket.ID,
		Type:      c.Type,
		Queue:     payload.Defaults().Queue,
		Duplicate: ticket.Duplicate,
	}
	switch {
	case ticket.Duplicate: // not known yet
	case c.delayed(inv.now()):
		r.State = string(ledger.Scheduled)
	default:
		r.State = string(ledger.Pending)
	}
	code := exitOK
	switch {
	case c.Wait != nil:
		inv.printErr(
			r.ID + " is stored; waiting for its outcome, " + formatDuration(
				time.Duration(*c.Wait),
			) + " at most",
		)
		code, err = inv.waitForOutcome(ctx, client, r, time.Duration(*c.Wait), ticket.Outcome)
	case ticket.Duplicate:
		err = inv.readDuplicate(ctx, client, r, ticket.Outcome)
	}
	// What is known is worth printing also when the rest could not be had.
	inv.printReport(r, c.JSON)
	return code, err
}

// delayed reports whether the task is asked for at a later time.
func (c *enqueueCommand) delayed(now time.Time) bool {
	return c.In != nil && *c.In > 0 || c.At != nil && time.Time(*c.At).After(now)
}

// options checks the flags.
func (c *enqueueCommand) options(now time.Time) ([]tasks.Option, error) {
	var opts []tasks.Option
	var faults []error
	fault := func(text string) {
		faults = append(faults, errors.New(text))
	}
	if c.Key != nil {
		if strings.TrimSpace(*c.Key) == "" {
			fault("--key must not be empty; leave it out to enqueue without one")
		}
		opts = append(opts, tasks.Key(*c.Key))
	}
	if c.In != nil {
		switch d := time.Duration(*c.In); {
		case d < 0:
			fault("--in must not be negative")
		case d > maxDelay:
			fault("--in must be within ten years")
		default:
			opts = append(opts, tasks.In(d))
		}
	}
	if c.At != nil {
		switch ahead := time.Time(*c.At).Sub(now); {
		case ahead < -maxPast:
			fault("--at must not lie in the past")
		case ahead > maxDelay:
			fault("--at must be within ten years")
		default:
			opts = append(opts, tasks.At(time.Time(*c.At)))
		}
	}
	if c.UsableFor != nil {
		switch d := time.Duration(*c.UsableFor); {
		case d < time.Millisecond:
			fault("--usable-for must be positive")
		case d > maxDelay:
			fault("--usable-for must be within ten years")
		default:
			opts = append(opts, tasks.UsableFor(d))
		}
	}
	if c.Wait != nil && *c.Wait <= 0 {
		fault("--wait must be positive")
	}
	if c.Notify {
		opts = append(opts, tasks.Notify())
	}
	return opts, joinUsageErrors(faults...)
}

// enqueueTask enqueues one task. A signal does not break it off, because then nobody
// would know whether the task is stored.
func enqueueTask(
	ctx context.Context,
	client *tasks.Client,
	taskType string,
	raw []byte,
	opts []tasks.Option,
) (*tasks.Ticket[json.RawMessage], error) {
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return client.EnqueueJSON(ctx, taskType, raw, opts...)
}
