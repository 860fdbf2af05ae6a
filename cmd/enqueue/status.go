package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// statusCommand is `enqueue status ID`, or the same with --type and --key. With --receipt
// it counts the tasks of a bulk run.
type statusCommand struct {
	ID      string `arg:"" optional:"" help:"Task ID."`
	Type    string `help:"Task type; with --key, instead of the ID."`
	Key     string `help:"Key of the task; with --type."`
	Receipt string `placeholder:"FILE" help:"Receipt of a bulk run: count its tasks by outcome."`
	Watch   bool   `help:"Follow the task, or the receipt's tasks, until the end. The exit code is that of --wait."`
	JSON    bool   `name:"json" help:"Print one JSON object."`
}

func (c *statusCommand) check() error {
	c.ID = strings.TrimSpace(c.ID) // as it was pasted
	ways := 0
	for _, given := range []bool{c.ID != "", c.Type != "" || c.Key != "", c.Receipt != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return usagef("name the task in one way: ID, --type and --key, or --receipt FILE")
	case (c.Type == "") != (c.Key == ""):
		return usagef("--type and --key go together")
	}
	return nil
}

func (c *statusCommand) run(ctx context.Context, inv *invocation) (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	info := tasks.Info{}
	if c.Type != "" {
		var err error
		if info, err = findType(c.Type, usagef); err != nil {
			return 0, err
		}
	}
	client, err := inv.openClient(false)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()
	if c.Receipt != "" {
		return c.countReceipt(ctx, inv, client)
	}
	r := &produce.Report{ID: c.ID}
	var keyOutcome tasks.Outcome
	if c.Key != "" {
		if r.ID, keyOutcome, err = client.FindKey(ctx, info, c.Key); err != nil {
			return 0, err
		}
		r.Type, r.Queue = info.Type, info.Example.Policy().Queue
	}
	if c.Watch {
		return c.watch(ctx, inv, client, r, keyOutcome)
	}
	status, err := client.Status(ctx, r.ID)
	if status == nil {
		if keyOutcome != "" && errors.Is(err, tasks.ErrNotFound) {
			_, err = inv.setOutcomeFromKey(r, keyOutcome)
			inv.printReport(r, c.JSON)
		}
		return 0, err
	}
	inv.warnUnreadable(err)
	r.SetStatus(status)
	r.SetHistory(status)
	inv.printReport(r, c.JSON)
	inv.adviseUnknown(r)
	return exitOK, nil
}

// watchStep is how often a watched task is looked at for more than its end.
const watchStep = time.Second

// watch writes each change of a task's state to stderr, and prints the report once it has
// ended. A Redis that is away for a while is waited for.
func (c *statusCommand) watch(
	ctx context.Context,
	inv *invocation,
	client *tasks.Client,
	r *produce.Report,
	keyOutcome tasks.Outcome,
) (int, error) {
	seen := ""
	for {
		step, cancel := context.WithTimeout(ctx, watchStep)
		status, err := client.Wait(step, r.ID)
		cancel()
		switch {
		case status == nil && errors.Is(err, tasks.ErrNotFound):
			code, err := inv.setOutcomeFromKey(r, keyOutcome)
			inv.printReport(r, c.JSON)
			return code, err
		case errors.Is(err, record.ErrBadID):
			return 0, err
		case status != nil && status.State == tasks.Ended:
			inv.warnUnreadable(err)
			r.SetStatus(status)
			r.SetHistory(status)
			inv.printReport(r, c.JSON)
			inv.adviseUnknown(r)
			return outcomeExitCode(status.Outcome), nil
		case ctx.Err() != nil:
			return 0, &exitError{exitInterrupted, errors.New("interrupted; the task goes on")}
		case status != nil:
			if now := watchLine(status); now != seen {
				seen = now
				inv.printErr(r.ID + " " + now)
			}
		}
	}
}

// watchLine says in one line where a task is.
func watchLine(s *tasks.Status) string {
	text := string(s.State)
	if s.Attempts > 0 {
		text += fmt.Sprintf(" after %d attempts", s.Attempts)
	}
	if !s.Next.IsZero() {
		text += ", again at " + produce.FormatTime(s.Next)
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	return text
}

// cancelCommand is `enqueue cancel ID`.
type cancelCommand struct {
	ID   string `arg:"" help:"Task ID."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

func (c *cancelCommand) run(ctx context.Context, inv *invocation) (int, error) {
	client, err := inv.openClient(false)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()
	c.ID = strings.TrimSpace(c.ID) // as it was pasted
	r := &produce.Report{ID: c.ID}
	cancelCtx, stop := context.WithTimeout(ctx, produce.StoreTimeout)
	defer stop()
	if err := client.Cancel(cancelCtx, c.ID); err != nil {
		if started, ok := errors.AsType[*tasks.StartedError](err); ok {
			return 0, &exitError{
				exitNoTask,
				fmt.Errorf("%s can no longer be cancelled: it is %s", c.ID, started.State),
			}
		}
		return 0, err
	}
	status, err := client.Status(ctx, c.ID)
	if status == nil {
		r.Queue, _ = record.QueueOf(c.ID)
		r.State, r.Outcome = produce.StateEnded, tasks.Cancelled
		inv.printErr("cancelled; its record could not be read: " + err.Error())
	} else {
		r.SetStatus(status)
	}
	inv.printReport(r, c.JSON)
	return exitOK, nil
}
