// Package tasks is what application code imports to have vendor calls made in
// the background: one payload type per task, a Client that enqueues, and a
// Ticket that waits for the result.
//
//	client, err := tasks.Open("redis://127.0.0.1:6379/0")
//	ticket, err := tasks.Enqueue(ctx, client, danaconnect.OTPSend{…}, tasks.Key("login-42"))
//	sent, err := ticket.Wait(ctx)
//
// When Enqueue returns without an error, the task is in Redis and will end with
// exactly one Outcome, whatever happens to this process or to a worker.
//
// Give a Key to whatever must not happen twice, such as the ID of the login or
// of the order: enqueueing the same again, also after a crash, then finds the
// first task.
//
// Wait returns the typed result. Every end but Done is an *OutcomeError; its
// Outcome says what to do: Declined is a valid "no", Unknown may have happened
// and must not be repeated blindly, Expired was never done.
//
// The payload types are in the packages of the vendors, below this one; package all
// lists the vendors for the worker and the command line.
package tasks
