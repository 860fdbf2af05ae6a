package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// statusCommand is `enqueue status ID`.
type statusCommand struct {
	ID   string `arg:"" help:"Task ID."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

func (c *statusCommand) run(ctx context.Context, inv *invocation) (int, error) {
	client, err := inv.openClient(false)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()
	c.ID = strings.TrimSpace(c.ID) // as it was pasted
	status, err := client.Status(ctx, c.ID)
	if status == nil {
		return 0, err
	}
	inv.warnUnreadable(err)
	r := &produce.Report{ID: c.ID}
	r.SetStatus(status)
	r.SetHistory(status)
	inv.printReport(r, c.JSON)
	inv.adviseUnknown(r)
	return exitOK, nil
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
