// Package schedule enqueues tasks on a schedule: every so often, or by cron in
// a time zone. Any number of workers run the same schedule file, and each tick
// is enqueued once, without a leader.
//
//	schedules.yaml ──Load──▶ File ──┐        (looked at again every second)
//	                                ▼
//	worker A   runner ──┐      one runner for each schedule in each worker
//	worker B   runner ──┼──▶ begin ──▶ mine: enqueue ─▶ renew … ─▶ finish
//	worker C   runner ──┘      │       held, done: wait for the next slot
//	                           ▼
//	            errand:schedule:{name}   last slot, slot under way, its lease
//
// # Slots
//
// A tick's slot is its time in Unix seconds. With every, slots are the multiples
// of the period since 1970, so all workers and all restarts agree on them. With
// cron they are the instants of the local times that match; see timing for
// clock changes.
//
// One hash in Redis for each schedule holds the last slot that was enqueued as a
// whole. Whoever begins the next one gets a lease of a second, renews it after
// each chunk of subjects, and moves the last slot when all are in the queue. If
// it dies, another goes on from the last chunk that was noted, and each task
// carries the key schedule/<name>/<slot>/<subject>: what is there already is
// not enqueued again.
//
// # Late and missed
//
// A slot begun within grace of its time is on time: that covers a worker that
// died in the middle. After a longer pause at most one slot is run late, the
// newest; the others are counted as missed. A schedule that is seen for the
// first time, or whose timing was changed, starts with the next slot.
//
// Nothing waits for the tasks themselves, so that a run that fails or ends
// archived never stops the next. While a task of the same schedule and subject
// is under way, the next one is skipped and counted as overlap.
//
// # Time
//
// Redis's clock is the only one. A worker uses its own only to wait.
package schedule
