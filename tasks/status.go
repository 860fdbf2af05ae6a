package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// Status is the status of a task.
type Status struct {
	ID    string
	Type  string
	Queue string
	// State is where the task is: pending, scheduled, running, retrying, parked or
	// ended.
	State State
	// Outcome is how the task ended; empty until then.
	Outcome Outcome
	// Code and Message are the vendor's, of the end or of the latest attempt.
	Code    string
	Message string
	// Data is the result as JSON. It is nil if there is none, or if it cannot be
	// decrypted; HasData distinguishes the two.
	Data json.RawMessage
	// HasData reports whether a result is stored.
	HasData bool
	// Attempts is the length of History.
	Attempts int
	// History has an entry for each attempt, the oldest first.
	History []Attempt
	// By names the API key that enqueued the task over HTTP; empty if none did.
	By string

	// Created is when the task was stored. It runs between Due and Expires.
	Created time.Time
	Due     time.Time
	Expires time.Time
	// Next is when a retrying or parked task runs again.
	Next time.Time
	// Ended is when the task ended; zero until then.
	Ended time.Time
}

// State is where a task is.
type State = record.State

// The states.
const (
	Pending   = record.Pending
	Scheduled = record.Scheduled
	Running   = record.Running
	Retrying  = record.Retrying
	Parked    = record.Parked
	Ended     = record.Ended
)

// Attempt is one call of the vendor.
type Attempt = record.Attempt

// Status returns the status of a task, also of one that a plain asynq client has
// enqueued. Its error is ErrNotFound if there is no record.
func (c *Client) Status(ctx context.Context, id string) (*Status, error) {
	r, err := c.store.Get(ctx, id)
	if errors.Is(err, record.ErrNotFound) || errors.Is(err, record.ErrBadID) {
		plain, plainErr := c.producer.Unrecorded(ctx, id)
		switch {
		case plainErr == nil:
			return c.open(plain)
		case !errors.Is(plainErr, record.ErrNotFound): // Redis has not said that there is none
			return nil, plainErr
		}
	}
	if err != nil {
		return nil, err
	}
	return c.open(r)
}

// Wait returns the status once the task has ended. If ctx is done first, it returns
// ctx's error and the last status it read, which may be nil.
func (c *Client) Wait(ctx context.Context, id string) (*Status, error) {
	record, err := c.watcher.Wait(ctx, id)
	if record == nil {
		return nil, err
	}
	status, openErr := c.open(record)
	return status, errors.Join(err, openErr)
}

// FindKey returns the ID of the task that a key of a type leads to, and its outcome once
// it has ended: that is kept as long as the key, which is longer than the task's record.
// Its error is ErrNotFound if the key is free.
func (c *Client) FindKey(ctx context.Context, info Info, key string) (id string, o Outcome, err error) {
	return c.store.ByKey(ctx, info.Example.Policy().Queue, info.Type, key)
}

func (c *Client) open(record *record.Record) (*Status, error) {
	status := &Status{
		ID:       record.ID,
		Type:     record.Type,
		Queue:    record.Queue,
		State:    record.State,
		Outcome:  record.Outcome,
		Code:     record.Code,
		Message:  record.Message,
		HasData:  len(record.Data) > 0,
		Attempts: record.Attempts,
		History:  record.History,
		By:       record.By,
		Created:  record.Created,
		Due:      record.Due,
		Expires:  record.Expires,
		Next:     record.Next,
		Ended:    record.Ended,
	}
	data, err := broker.OpenResult(c.ring, record)
	if err != nil {
		return status, fmt.Errorf("open the result of %s: %w", record.ID, err)
	}
	status.Data = data
	return status, nil
}
