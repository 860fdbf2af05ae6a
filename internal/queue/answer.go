package queue

import (
	"errors"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/ledger"
)

// againError tells asynq to hold the task back for a while. asynq keeps its
// text as the task's last error, where the web UI shows it.
type againError struct {
	after time.Duration
	text  string
}

func (e *againError) Error() string { return e.text }

// deadError tells asynq to archive the task.
type deadError struct{ text string }

func (e *deadError) Error() string { return e.text }

// Is makes asynq see its own SkipRetry, without showing its text.
func (e *deadError) Is(target error) bool { return target == asynq.SkipRetry }

// answerAsynq says to asynq what the ledger says already: asynq's states only
// follow it.
func answerAsynq(v verdict) error {
	switch {
	case v.state == ledger.Ended && v.outcome.Archived():
		return &deadError{text: string(v.outcome) + ": " + v.message}
	case v.state == ledger.Ended:
		return nil
	default:
		return &againError{after: v.wait, text: string(v.state) + ": " + v.message}
	}
}

// retryDelay is asynq's RetryDelayFunc: it reads the wait out of the error. Any
// other error is asynq's own (a lost lease): the ledger knows what to do, so the
// task comes back soon.
func retryDelay(_ int, err error, _ *asynq.Task) time.Duration {
	if again, ok := errors.AsType[*againError](err); ok {
		return again.after
	}
	return time.Second
}

// countFailure is asynq's IsFailure: waits are not failures in its statistics.
func countFailure(err error) bool {
	_, again := errors.AsType[*againError](err)
	return !again
}
