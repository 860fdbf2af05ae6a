// Package tasks enqueues tasks: calls of vendors that Errand's workers make in the
// background.
//
// The packages of the vendors, below this one, have a payload type for each task.
// Application code imports this package and those of the vendors that it uses:
//
//	import (
//		"errand.internal/tasks"
//		"errand.internal/tasks/danaconnect"
//	)
//
//	client, err := tasks.Open("redis://127.0.0.1:6379/0") // once per process
//	ticket, err := tasks.Enqueue(ctx, client, danaconnect.OTPSend{…}, tasks.Key("login-42"))
//	sent, err := ticket.Wait(ctx)
//
// `go doc errand.internal/tasks/danaconnect` lists the tasks of a vendor, and
// docs/vendors has a guide for each vendor. Package all lists the vendors.
//
// # Enqueueing
//
// Once [Enqueue] has returned without an error, the task is in Redis and ends with
// exactly one [Outcome], even if this process or a worker dies. An invalid payload is
// a [PayloadError] that names every invalid field; nothing is enqueued.
//
// Give a [Key] to every task that must not run twice, such as the ID of the login or
// of the order. Enqueueing it again with the same key, even after a crash, returns the
// ticket of the first task, with Duplicate set. The same key with another payload is
// [ErrKeyConflict].
//
// The options [In], [At] and [UsableFor] say when the task may run, and [Notify] sends
// an event when it ends. [EnqueueAll] enqueues many tasks of one type.
//
// # Results
//
// [Ticket.Wait] returns the typed result. The error is an [OutcomeError] for every
// outcome but Done:
//
//   - Declined: the vendor's valid "no", such as a wrong passcode.
//   - Unknown: the call may have taken effect. Do not repeat it blindly.
//   - Failed: the attempts or the time are used up without success.
//   - Expired: the time ran out before the vendor was called.
//   - Invalid: the request itself is wrong. The same one would fail again.
//   - Superseded: a later task made this one pointless.
//   - Cancelled: somebody cancelled it before it was attempted.
//
// A process that did not enqueue the task reads it by its ID: [Client.Status] and
// [Client.Wait] return a [Status], and [Client.Cancel] cancels a task that has not been
// attempted yet.
//
// # Testing
//
// Code that takes an [Enqueuer] instead of a *Client is tested with the client of package
// taskstest: it is in memory, keeps the promises of the true one, and lists what was
// enqueued.
//
// # Defining tasks
//
// A vendor's package describes itself with a [Vendor]: its queues, its types of accounts,
// and the task types that it defines with [Define] or [DefineReconciled].
package tasks
