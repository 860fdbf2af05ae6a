// Package produce has what all ways to enqueue share, whether by the command or by
// HTTP: how a task is stored, how it is described, and what its errors mean.
package produce

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/timeout"
	"errand.internal/tasks"
)

const (
	// maxDelay is how far ahead a task may be scheduled.
	maxDelay = 10 * 365 * 24 * time.Hour
	// maxPast is how far in the past a start may lie, because a producer takes a moment
	// to ask. An older time is probably a wrong year or time zone.
	maxPast = time.Minute
	// StoreTimeout bounds all the steps of storing one task, so that a Redis that
	// does not answer is reported within 3 s.
	StoreTimeout = 2700 * time.Millisecond
)

// storing bounds Enqueue and EnqueueAll.
var storing = timeout.NewLimit(StoreTimeout)

// Enqueue stores one task, whose payload is from Vendors.Decode. The end of ctx does not
// abort it, because then it would be unknown whether the task is stored.
func Enqueue(
	ctx context.Context,
	client *tasks.Client,
	p tasks.Payload,
	opts []tasks.Option,
) (*tasks.Ticket[json.RawMessage], error) {
	ctx, cancel := storing.Context(context.WithoutCancel(ctx))
	defer cancel()
	return client.EnqueuePayload(ctx, p, append(opts, decoded)...)
}

// decoded says that a payload is from Vendors.Decode.
func decoded(j *broker.Job) {
	j.Decoded = true
}

// EnqueueAll is Enqueue for many tasks. options returns those of one, in a list that is used
// nowhere else.
func EnqueueAll(
	ctx context.Context,
	client *tasks.Client,
	list []tasks.Payload,
	options func(i int) []tasks.Option,
) ([]*tasks.Ticket[json.RawMessage], []error) {
	ctx, cancel := storing.Context(context.WithoutCancel(ctx))
	defer cancel()
	return client.EnqueuePayloads(ctx, list, func(i int) []tasks.Option {
		return append(options(i), decoded)
	})
}

// Wait waits for the end of a task, at most as long as wait, and returns its status then.
// If the task has not ended, the status is the latest that could be read; it is nil if
// there is no record.
func Wait(ctx context.Context, client *tasks.Client, id string, wait time.Duration) (*tasks.Status, error) {
	waitCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	status, err := client.Wait(waitCtx, id)
	if waitCtx.Err() == nil || ctx.Err() != nil || status != nil && status.State == tasks.Ended {
		return status, err
	}
	// The last state seen may be a second old.
	now, err := client.Status(ctx, id)
	if now == nil && !errors.Is(err, tasks.ErrNotFound) {
		return status, err
	}
	return now, err
}

// Timing says when a task may run. A nil field is left to the task's policy.
type Timing struct {
	In        *time.Duration
	At        *time.Time
	UsableFor *time.Duration
}

// Delayed reports whether the task is to start later than now.
func (t Timing) Delayed(now time.Time) bool {
	return t.In != nil && *t.In > 0 || t.At != nil && t.At.After(now)
}

// TimingNames are the names of the fields of a Timing as the producer writes them.
type TimingNames struct{ In, At, UsableFor string }

// A TimingError says which field of a Timing is wrong.
type TimingError struct{ Field, Rule string }

// Error implements error.
func (e *TimingError) Error() string {
	return e.Field + " " + e.Rule
}

// Options checks the timing and returns its options. The error joins a *TimingError
// for every field that is wrong.
func (t Timing) Options(now time.Time, names TimingNames) ([]tasks.Option, error) {
	var opts []tasks.Option
	var faults []error
	check := func(field string, d, least time.Duration, tooSmall string, option tasks.Option) {
		switch {
		case d < least:
			faults = append(faults, &TimingError{field, tooSmall})
		case d > maxDelay:
			faults = append(faults, &TimingError{field, "must be within ten years"})
		default:
			opts = append(opts, option)
		}
	}
	if t.In != nil {
		check(names.In, *t.In, 0, "must not be negative", tasks.In(*t.In))
	}
	if t.At != nil {
		check(names.At, t.At.Sub(now), -maxPast, "must not be in the past", tasks.At(*t.At))
	}
	if t.UsableFor != nil {
		check(names.UsableFor, *t.UsableFor, time.Millisecond, "must be positive", tasks.UsableFor(*t.UsableFor))
	}
	return opts, errors.Join(faults...)
}
