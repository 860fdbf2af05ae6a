// Package fleet runs a whole site for tests: real worker processes between a
// real Redis and the vendors' sandboxes, which count what the workers do to
// them. Tests kill, stop and freeze any part of it, and then ask whether every
// task came to one end that agrees with what the vendors saw.
//
//	test process                                   children of the test binary
//	┌────────────────────────────────────┐         ┌───────────────┐
//	│ test ──▶ Site ──enqueue──▶ Redis ◀─┼─────────┤ worker        │
//	│           │                        │         │ (app.Worker)  │ × n
//	│           └─count── sandboxes ◀────┼──HTTP───┤               │
//	└────────────────────────────────────┘         └───────────────┘
//
// A worker process is the test binary itself, started again: no second build,
// and with the race detector on if the test has it. A package that uses this
// one therefore needs
//
//	func TestMain(m *testing.M) { fleet.Main(m) }
//
// A race, a crash or an end that nobody asked for in any process fails the
// test, and the logs of all processes are shown when a test fails.
//
// # Sizes
//
// The tests of this package run with small numbers, in about a minute. With
// FLEET_LONG=1 in the environment they run with those that the project promises
// (10,000 tasks behind a wrong password, and a full minute of it, on both kinds
// of Redis), in several minutes; Size chooses.
//
// # Secrets
//
// Every secret and every personal value that a Site makes up contains its
// Canary, and payloads, results and tokens are sealed unless Options says
// otherwise. CheckSecrets then looks for the canary, the tokens and the codes,
// in all of Redis and in all logs.
//
// The package is for tests only and never linked into a command.
package fleet
