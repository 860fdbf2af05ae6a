// Package ledger keeps the one record of each task in Redis: its state, its
// attempts, the claim of the worker that is calling the vendor right now, and
// its outcome. asynq only carries the task from queue to worker; what is true
// about a task stands here.
//
//	           Create                Begin                    Finish
//	producer ─────────▶ pending ───────────────▶ running ─────────────────▶ ended
//	                    scheduled     ▲                │  (one outcome, key freed or
//	                                  │                │   kept, waiters woken)
//	                                  └── retrying ◀───┤
//	                                      parked   ◀───┘
//
// A record is one hash, errand:{queue}:task:<id>. The braces are the hash tag
// of Redis Cluster: asynq's own keys of the queue use the same one, so a
// script can touch all of them. A key given by the producer has a record of
// its own, errand:{queue}:key:<digest>, because it outlives the task's.
//
// # Claims
//
// Begin writes a claim (owner, fence, deadline) before the first byte leaves
// for the vendor, and Finish removes it with the result; every Finish is
// fenced by the claim's number. A second copy of the task that finds a claim
// waits. When the deadline has passed, the owner is taken for dead: a
// repeatable task runs again, any other one ends unknown, because its effect
// may have happened.
//
// # Time
//
// Every time in a record is Redis time, in milliseconds. No two machines'
// clocks are ever compared.
package ledger
