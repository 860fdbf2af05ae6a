// Package faults shows that no task is lost and no effect happens twice: it runs
// real worker processes, a real Redis and sandboxes that count effects (package
// fleet), breaks them in every way that docs/guarantees.md describes, and compares
// the records with what the vendors saw.
//
//	kills        kill -9 at each step of a task, and at random moments
//	cuts         a worker cut off at each command of a task's life, and killed there
//	producers    producers killed while they enqueue, one by one and in bulk
//	deploys      rolling restarts under load; a process that freezes and resumes
//	releases     workers of two releases beside each other
//	failback     two masters that take turns, each lacking the other's last writes
//	lookups      a lookup that breaks off, whose worker is killed
//	redis        Redis frozen, stopped and restarted, down for long
//	failover     sentinels that replace a master; a cluster that loses one
//	refused      a Redis that answers and takes no writes
//	quiet        nothing to do for longer than anything waits
//	damage       records and active entries that Redis has lost
//	replies      a proxy that drops single replies of each script
//	keys         many producers with one key, now and two days later
//	deadletters  more dead letters than asynq can keep
//	invoices     creates whose answers are lost and whose workers are killed
//	everytype    the example of every listed task type, with an answer that is lost
//	schedule     workers that share a schedule, killed and frozen during a tick
//	events       a receiver of events that is down, fails, is slow or redirects
//	handlers     handlers that panic, hang, or ignore their deadline
//
// At the end of each test, the record of every task must agree with asynq's queue
// (broker.Check), and in a long run the workers are left without a task for a while
// and must then be as quick as before.
//
// everytype covers a new vendor by itself. The others break the tasks of fleet.Kinds,
// which names one or two types for each way in which a task may be repeated.
//
// # Sizes and seeds
//
// `make test` runs the suite with small numbers, `make test/faults` with those that
// the project promises (see fleet.Size), and prints the figures. Random choices come
// from a seed that each test prints; FAULTS_SEED=<n> repeats them, but not the timing
// of the processes.
//
// The package has tests only.
package faults
