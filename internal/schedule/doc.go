// Package schedule enqueues tasks on a schedule: at a fixed period, or by cron in
// a time zone. Any number of workers run the same schedule file, and each tick
// is enqueued once, without a leader.
//
//	schedules.yaml ──Load──▶ File ──┐        (checked for changes every second)
//	                                ▼
//	worker A   runner ──┐      one runner per schedule in each worker
//	worker B   runner ──┼──▶ begin ──▶ begun, resumed: enqueue ─▶ renew … ─▶ finish
//	worker C   runner ──┘      │       held, done: wait for the next slot
//	                           ▼
//	            errand:schedule:{name}   last slot, slot in progress, its lease
//
// # Slots
//
// A tick's slot is its time in Unix seconds. With every, slots are the multiples
// of the period since 1970, so all workers and all restarts agree on them. With
// cron they are the instants of the local times that match; see timing for
// clock changes.
//
// Each schedule has a hash in Redis that holds the last slot that was enqueued
// completely. The worker that begins the next slot gets a lease of one second,
// renews it after each chunk of subjects, and advances the last slot when all
// tasks are in the queue. If it dies, another worker resumes after the last
// chunk that was recorded. Each task carries the key
// schedule/<name>/<slot>/<subject>, so that none is enqueued twice.
//
// # Late and missed ticks
//
// A slot that is begun within the grace period is on time: that covers a worker
// that died in the middle of it. After a longer pause at most one slot runs
// late, the newest; the others count as missed. A schedule that is new, or whose
// timing was changed, starts with its next slot.
//
// Nothing waits for the tasks themselves, so a task that fails or ends archived
// never stops the next tick. While a task of the same schedule and subject is
// active, the next one is skipped and counted as overlap.
//
// # Time
//
// Redis's clock is authoritative. A worker uses its own clock only to wait.
package schedule
