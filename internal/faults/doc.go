// Package faults shows that nothing is lost and nothing is done twice: it takes
// a site of real worker processes, a real Redis and sandboxes that count effects
// (package fleet), breaks it in every way that docs/guarantees.md speaks of, and
// then compares the records with what the vendors saw.
//
//	kills       kill -9 at each step of a task, and at random moments
//	deploys     rolling restarts under load; a process that freezes and wakes
//	redis       frozen, stopped and started, away for long
//	damage      leases, records and active entries that Redis has lost
//	replies     a proxy that drops single replies of each script
//	keys        many producers with one key, now and two days later
//	letters     more dead letters than asynq can keep
//	invoices    creates whose answers are lost and whose workers are killed
//	schedule    workers that share one, killed and frozen in the middle of a tick
//	receiver    of events that is down, fails, is slow or redirects
//	handlers    that panic, hang, or do not listen
//
// # Sizes and seeds
//
// `make test` runs the suite with small numbers, `make test/faults` with those
// that the project promises (see fleet.Size), and prints the figures. What is
// random comes from a seed that each test prints; FAULTS_SEED=<n> takes the same
// one again. It repeats the choices, not the timing of processes.
//
// The package holds tests only.
package faults
