package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// await waits for the outcome and fills in the report. ofKey is the outcome
// that a duplicate's key remembers, for when the record is no longer kept.
//
// Redis may go away and come back during the wait: the task is stored, so it is
// worth waiting on. Only if it is away at the end is that the answer.
func (s *session) await(
	ctx context.Context,
	client *tasks.Client,
	r *report,
	wait time.Duration,
	ofKey tasks.Outcome,
) (int, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	status, err := client.Wait(waiting, r.ID)
	if waiting.Err() != nil && ctx.Err() == nil &&
		(status == nil || status.State != ledger.Ended) {
		// The state seen last may be a second old.
		if status != nil {
			r.take(status)
		}
		status, err = client.Status(ctx, r.ID)
	}
	switch {
	case status != nil:
		r.take(status)
	case errors.Is(err, tasks.ErrNotFound):
		return s.fromKey(r, ofKey)
	}
	switch {
	case r.State == stateEnded:
		s.sealed(err)
		return outcomeCode(r.Outcome), nil
	case ctx.Err() != nil:
		return 0, &fault{
			exitInterrupted,
			errors.New(
				"interrupted; the task goes on, 'enqueue status " + r.ID + "' tells how",
			),
		}
	case err != nil:
		return 0, fmt.Errorf("the task is stored, how it stands is not known: %w", err)
	case r.State == string(ledger.Parked):
		return 0, &fault{
			exitParked,
			fmt.Errorf("parked after %s: %s", human(wait), value(r.Message)),
		}
	}
	return 0, &fault{
		exitTimeout,
		fmt.Errorf("the wait of %s is over, the task is %s", human(wait), r.State),
	}
}

// lookUp fills in how the first task of a key stands.
func (s *session) lookUp(
	ctx context.Context,
	client *tasks.Client,
	r *report,
	ofKey tasks.Outcome,
) error {
	status, err := client.Status(ctx, r.ID)
	switch {
	case status != nil:
		r.take(status)
		s.sealed(err)
		return nil
	case errors.Is(err, tasks.ErrNotFound):
		_, _ = s.fromKey(r, ofKey)
		return nil
	}
	return err
}

// fromKey is what the key alone tells of a task whose record is no longer kept.
func (s *session) fromKey(r *report, ofKey tasks.Outcome) (int, error) {
	if ofKey == "" {
		r.State = forgotten
		if !r.Duplicate {
			return 0, &fault{
				exitNoTask,
				errors.New(
					"the task's record is lost from Redis; whether it will run is not known",
				),
			}
		}
		return 0, &fault{
			exitNoTask,
			errors.New(
				"the record of the key's first task is no longer kept; no worker has ever ended it",
			),
		}
	}
	r.State, r.Outcome = stateEnded, ofKey
	s.complain(
		"the record of the key's first task is no longer kept; the outcome is known from the key",
	)
	return outcomeCode(ofKey), nil
}

// sealed says why there is no data. Everything else about the task is known.
func (s *session) sealed(err error) {
	if err == nil {
		return
	}
	if s.environ["ENCRYPTION_KEYS"] == "" && s.environ["ENCRYPTION_KEYS_FILE"] == "" {
		s.complain(
			"ENCRYPTION_KEYS is missing, so the data cannot be read: " + err.Error(),
		)
		return
	}
	s.complain("the data cannot be read: " + err.Error())
}
