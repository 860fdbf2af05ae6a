// Package queue makes asynq dependable. It is the only package that knows
// asynq; what it adds:
//
//	producer ── Create ──▶ ledger          the record settles whose the key is
//	   └──── Enqueue ────▶ asynq           one asynq queue per group of tasks
//
//	asynq ── dispatch ──▶ runner           wide, and woken by arrival
//	            runner ── Begin ──▶ ledger      claim, or somebody's outcome
//	            runner ── Run ────▶ client ──▶ vendor
//	            decide(err)                     what now: one place for all tasks
//	            runner ── Finish ─▶ ledger      attempt, state, outcome
//	            answerAsynq                     asynq's state follows the ledger's
//
// # Who decides
//
// A client says what happened (clients.Error and its Kind). A task says what it
// is (Defaults: budget, repeatable or not, backoff). decide puts the two
// together; nothing else retries, and no task has a rule of its own.
//
// asynq's own retry counter plays no part: it would archive a task on the
// count, also for waits that should not count. Every task is enqueued with a
// MaxRetry that is never reached, and waits are uncounted (IsFailure).
//
// # Slots
//
// Each queue has an asynq.Server of its own in the process, so its concurrency
// is its own: a vendor that hangs can fill the slots of its queue only.
//
// # Acknowledgement
//
// The outcome is in the ledger before asynq hears of it. If asynq never does,
// because Redis or the process went away, the task is run again by asynq, finds
// its outcome and repeats it without calling anybody.
package queue
