package main

import (
	"context"
	"errors"
	"fmt"

	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// statusCommand is `enqueue status ID`.
type statusCommand struct {
	ID   string `arg:"" help:"The task's ID."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

func (c *statusCommand) run(ctx context.Context, s *session) (int, error) {
	client, err := s.open(false)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()
	status, err := client.Status(ctx, c.ID)
	if status == nil {
		return 0, err
	}
	s.sealed(err)
	r := &report{ID: c.ID}
	r.take(status)
	r.takeHistory(status)
	s.print(r, c.JSON)
	return exitOK, nil
}

// cancelCommand is `enqueue cancel ID`.
type cancelCommand struct {
	ID   string `arg:"" help:"The task's ID."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

func (c *cancelCommand) run(ctx context.Context, s *session) (int, error) {
	client, err := s.open(false)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Close()
	}()
	// The type is no longer told once the record has gone.
	r := &report{ID: c.ID}
	within, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	if err := client.Cancel(within, c.ID); err != nil {
		if started, ok := errors.AsType[*tasks.StartedError](err); ok {
			return 0, &fault{
				exitNoTask,
				fmt.Errorf(
					"%s cannot be cancelled any more: it is %s",
					c.ID,
					started.State,
				),
			}
		}
		return 0, err
	}
	status, err := client.Status(ctx, c.ID)
	if status == nil {
		r.Queue, _ = ledger.QueueOf(c.ID)
		r.State, r.Outcome = stateEnded, tasks.Cancelled
		s.complain("cancelled; the record could not be read: " + err.Error())
	} else {
		r.take(status)
	}
	s.print(r, c.JSON)
	return exitOK, nil
}
