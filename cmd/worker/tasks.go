package main

import (
	"context"
	"fmt"
	"time"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/terminal"
)

type tasksCommand struct {
	List listTasksCommand `cmd:"" default:"withargs" help:"List tasks, the newest first (default)."`
}

type listTasksCommand struct {
	Type    string         `help:"Only this task type."`
	State   record.State   `help:"Only this state: pending, scheduled, running, retrying, parked, ended."`
	Outcome record.Outcome `help:"Only this outcome."`
	Queue   string         `help:"Only this queue."`
	Since   timeFlag       `placeholder:"TIME" help:"Only tasks stored since: how long ago (2h), or an RFC 3339 time."`
	Key     string         `help:"Only the task with this producer's key; with --type."`
	Subject string         `help:"Only tasks about this recipient or user."`
	Limit   int            `default:"100" help:"At most this many tasks (${default})."`
	JSON    bool           `name:"json" help:"Print one JSON object per task."`
}

// listedTask is a task in the list.
type listedTask struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Queue   string         `json:"queue"`
	State   record.State   `json:"state"`
	Outcome record.Outcome `json:"outcome,omitempty"`
	Code    string         `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	Created time.Time      `json:"created"`
	Due     time.Time      `json:"due"`
	Next    *time.Time     `json:"next,omitempty"`
	Ended   *time.Time     `json:"ended,omitempty"`
}

func (c *listTasksCommand) run(ctx context.Context, inv *invocation) error {
	return inv.operate(ctx, func(o *operator.Operator) error {
		found, more, err := o.Tasks(ctx, operator.TaskFilter{
			Queue:   c.Queue,
			Type:    c.Type,
			State:   c.State,
			Outcome: c.Outcome,
			Since:   c.Since.Time,
			Key:     c.Key,
			Subject: c.Subject,
			Limit:   c.Limit,
		})
		if err != nil {
			return err
		}
		if more {
			_, _ = fmt.Fprintf(inv.stderr, "worker: these are the newest %d; --limit lists more\n", len(found))
		}
		if c.JSON {
			return inv.printTasksJSON(found)
		}
		table := terminal.NewTable(inv.stdout, "ID", "TYPE", "STATE", "STORED", "DUE", "ENDED", "CODE", "MESSAGE")
		for _, r := range found {
			state := string(r.State)
			if r.Outcome != "" {
				state = string(r.Outcome)
			}
			err := table.Row(r.ID, r.Type, state, stamp(r.Created), stamp(r.Due), stamp(r.Ended), r.Code, r.Message)
			if err != nil {
				return err
			}
		}
		return inv.flush(table, "no task")
	})
}

func (inv *invocation) printTasksJSON(found []*record.Record) error {
	for _, r := range found {
		err := inv.printJSON(listedTask{
			ID:      r.ID,
			Type:    r.Type,
			Queue:   r.Queue,
			State:   r.State,
			Outcome: r.Outcome,
			Code:    r.Code,
			Message: r.Message,
			Created: r.Created.UTC(),
			Due:     r.Due.UTC(),
			Next:    timeOrNil(r.Next),
			Ended:   timeOrNil(r.Ended),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func timeOrNil(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}
