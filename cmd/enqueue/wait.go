package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// waitForOutcome waits for the outcome and fills in the report. keyOutcome is the
// outcome stored with a duplicate's key, for when the record is no longer kept.
//
// Redis may become unreachable and return during the wait: the task is stored, so
// waiting on makes sense. It is an error only if it is unreachable at the end.
func (inv *invocation) waitForOutcome(
	ctx context.Context,
	client *tasks.Client,
	r *produce.Report,
	wait time.Duration,
	keyOutcome tasks.Outcome,
) (int, error) {
	status, err := produce.Wait(ctx, client, r.ID, wait)
	switch {
	case status != nil:
		r.SetStatus(status)
	case errors.Is(err, tasks.ErrNotFound):
		return inv.setOutcomeFromKey(r, keyOutcome)
	}
	switch {
	case r.State == produce.StateEnded:
		inv.warnUnreadable(err)
		return outcomeExitCode(r.Outcome), nil
	case ctx.Err() != nil:
		return 0, &exitError{
			exitInterrupted,
			errors.New("interrupted; the task goes on, 'enqueue status " + r.ID + "' shows its state"),
		}
	case err != nil:
		return 0, fmt.Errorf("the task is stored, but its state is unknown: %w", err)
	case r.State == string(record.Parked):
		return 0, &exitError{
			exitParked,
			fmt.Errorf("parked after %s: %s", produce.FormatDuration(wait), textOrEmpty(r.Message)),
		}
	}
	return 0, &exitError{
		exitTimeout,
		fmt.Errorf("the wait of %s is over; the task is %s", produce.FormatDuration(wait), r.State),
	}
}

// readDuplicate fills in the state of the first task with the key.
func (inv *invocation) readDuplicate(
	ctx context.Context,
	client *tasks.Client,
	r *produce.Report,
	keyOutcome tasks.Outcome,
) error {
	status, err := client.Status(ctx, r.ID)
	switch {
	case status != nil:
		r.SetStatus(status)
		inv.warnUnreadable(err)
		return nil
	case errors.Is(err, tasks.ErrNotFound):
		_, _ = inv.setOutcomeFromKey(r, keyOutcome)
		return nil
	}
	return err
}

// setOutcomeFromKey fills in the outcome stored with the key, for a task whose
// record is no longer kept.
func (inv *invocation) setOutcomeFromKey(r *produce.Report, keyOutcome tasks.Outcome) (int, error) {
	if keyOutcome == "" {
		r.State = produce.StateForgotten
		if !r.Duplicate {
			return 0, &exitError{
				exitNoTask,
				errors.New("the task's record is lost from Redis; whether it will run is unknown"),
			}
		}
		return 0, &exitError{
			exitNoTask,
			errors.New("the record of the key's first task is no longer kept; no worker has ended that task"),
		}
	}
	r.State, r.Outcome = produce.StateEnded, keyOutcome
	inv.printErr("the record of the key's first task is no longer kept; the outcome was stored with the key")
	return outcomeExitCode(keyOutcome), nil
}

// adviseUnknown says what to do about a task that may have taken effect.
func (inv *invocation) adviseUnknown(r *produce.Report) {
	if r.Outcome != tasks.Unknown {
		return
	}
	inv.printErr("it may have happened: look at the vendor first; if it did not, " +
		"enqueue it again with another --key, because its own stays taken")
}

// warnUnreadable says why the report has no data although the task is known.
func (inv *invocation) warnUnreadable(err error) {
	if err == nil {
		return
	}
	if inv.environ["ENCRYPTION_KEYS"] == "" && inv.environ["ENCRYPTION_KEYS_FILE"] == "" {
		inv.printErr("ENCRYPTION_KEYS is missing, so the data cannot be read: " + err.Error())
		return
	}
	inv.printErr("the data cannot be read: " + err.Error())
}
