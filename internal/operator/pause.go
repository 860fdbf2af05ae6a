package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/broker"
)

// PauseOrder says which queue is paused or resumed.
type PauseOrder struct {
	Queue string
	// For is how long; 0 until somebody resumes it.
	For    time.Duration
	Reason string
	DryRun bool
}

func (o *Operator) checkQueue(ctx context.Context, queue string) error {
	queues, err := o.queues(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(queues, queue) {
		return usagef("there is no queue %q; there are %s", queue, strings.Join(queues, ", "))
	}
	return nil
}

// Pause has no task of a queue start on any worker. Calls under way end. It returns what it
// did, in a sentence. A pause replaces an earlier one.
func (o *Operator) Pause(ctx context.Context, order PauseOrder) (string, error) {
	switch {
	case strings.TrimSpace(order.Reason) == "":
		return "", usagef("--reason must say why; doctor and audit show it")
	case order.For < 0:
		return "", usagef("--for must be positive")
	}
	if err := o.checkQueue(ctx, order.Queue); err != nil {
		return "", err
	}
	if order.DryRun {
		return "dry run, nothing changed: " + order.Queue + " would be paused", nil
	}
	pause := broker.Pause{Who: o.who, Reason: order.Reason}
	var err error
	if pause.Until, err = broker.PauseQueue(ctx, o.rdb, order.Queue, pause, order.For); err != nil {
		return "", err
	}
	if pause.Until.IsZero() {
		err = o.act(ctx, "pause", order.Queue, order.Reason, "until it is resumed")
	} else {
		err = o.act(ctx, "pause", order.Queue, order.Reason, "until "+pause.Until.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s: %s; tasks wait, and their time runs on", order.Queue, pause), err
}

// Resume ends the pause of a queue. The error is a *RefusedError if it is not paused.
func (o *Operator) Resume(ctx context.Context, order PauseOrder) (string, error) {
	if err := o.checkQueue(ctx, order.Queue); err != nil {
		return "", err
	}
	if order.DryRun {
		return "dry run, nothing changed: " + order.Queue + " would be resumed", nil
	}
	was, err := broker.ResumeQueue(ctx, o.rdb, order.Queue)
	if err != nil {
		return "", err
	}
	if !was {
		return "", refusedf("the queue %s is not paused", order.Queue)
	}
	return order.Queue + ": resumed", o.act(ctx, "resume", order.Queue, order.Reason, "")
}
