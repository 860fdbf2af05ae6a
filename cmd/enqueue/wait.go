package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// await waits for the outcome and fills in the report. keyOutcome is the outcome
// that a duplicate's key remembers, for when the record is no longer kept.
//
// Redis may go away and come back during the wait: the task is stored, so it is
// worth waiting on. Only if it is away at the end is that the answer.
func (inv *invocation) waitForOutcome(
	ctx context.Context,
	client *tasks.Client,
	r *report,
	wait time.Duration,
	keyOutcome tasks.Outcome,
) (int, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	status, err := client.Wait(waiting, r.ID)
	if waiting.Err() != nil && ctx.Err() == nil &&
		(status == nil || status.State != ledger.Ended) {
		// The state seen last may be a second old.
		if status != nil {
			r.setStatus(status)
		}
		status, err = client.Status(ctx, r.ID)
	}
	switch {
	case status != nil:
		r.setStatus(status)
	case errors.Is(err, tasks.ErrNotFound):
		return inv.setOutcomeFromKey(r, keyOutcome)
	}
	switch {
	case r.State == stateEnded:
		inv.warnUnreadable(err)
		return outcomeExitCode(r.Outcome), nil
	case ctx.Err() != nil:
		return 0, &exitError{
			exitInterrupted,
			errors.New(
				"interrupted; the task goes on, 'enqueue status " + r.ID + "' tells how",
			),
		}
	case err != nil:
		return 0, fmt.Errorf("the task is stored, how it stands is not known: %w", err)
	case r.State == string(ledger.Parked):
		return 0, &exitError{
			exitParked,
			fmt.Errorf("parked after %s: %s", formatDuration(wait), textOrEmpty(r.Message)),
		}
	}
	return 0, &exitError{
		exitTimeout,
		fmt.Errorf("the wait of %s is over, the task is %s", formatDuration(wait), r.State),
	}
}

// lookUp fills in how the first task of a key stands.
func (inv *invocation) readDuplicate(
	ctx context.Context,
	client *tasks.Client,
	r *report,
	keyOutcome tasks.Outcome,
) error {
	status, err := client.Status(ctx, r.ID)
	switch {
	case status != nil:
		r.setStatus(status)
		inv.warnUnreadable(err)
		return nil
	case errors.Is(err, tasks.ErrNotFound):
		_, _ = inv.setOutcomeFromKey(r, keyOutcome)
		return nil
	}
	return err
}

// fromKey is what the key alone tells of a task whose record is no longer kept.
func (inv *invocation) setOutcomeFromKey(r *report, keyOutcome tasks.Outcome) (int, error) {
	if keyOutcome == "" {
		r.State = stateForgotten
		if !r.Duplicate {
			return 0, &exitError{
				exitNoTask,
				errors.New(
					"the task's record is lost from Redis; whether it will run is not known",
				),
			}
		}
		return 0, &exitError{
			exitNoTask,
			errors.New(
				"the record of the key's first task is no longer kept; no worker has ever ended it",
			),
		}
	}
	r.State, r.Outcome = stateEnded, keyOutcome
	inv.printErr(
		"the record of the key's first task is no longer kept; the outcome is known from the key",
	)
	return outcomeExitCode(keyOutcome), nil
}

// sealed says why there is no data. Everything else about the task is known.
func (inv *invocation) warnUnreadable(err error) {
	if err == nil {
		return
	}
	if inv.environ["ENCRYPTION_KEYS"] == "" && inv.environ["ENCRYPTION_KEYS_FILE"] == "" {
		inv.printErr(
			"ENCRYPTION_KEYS is missing, so the data cannot be read: " + err.Error(),
		)
		return
	}
	inv.printErr("the data cannot be read: " + err.Error())
}
