// Package fleet runs a whole installation for tests: real worker processes between
// a real Redis and the vendors' sandboxes, which count the effects of every call.
// Tests kill, stop and freeze any part of it, and then check that every task ended
// with one outcome that agrees with what the vendors saw.
//
//	test process                                      children of the test binary
//	┌───────────────────────────────────────┐         ┌───────────────┐
//	│ test ──▶ Fixture ──enqueue──▶ Redis ◀─┼─────────┤ worker        │
//	│             │                         │         │ (app.Worker)  │ × n
//	│             └─count── sandboxes ◀─────┼──HTTP───┤               │
//	└───────────────────────────────────────┘         └───────────────┘
//
// A worker process is the test binary, started a second time. So there is no second
// build, and the race detector is on if the test has it. A package that uses this
// one therefore needs
//
//	func TestMain(m *testing.M) { fleet.Main(m) }
//
// A race, a crash or an unexpected exit in any process fails the test. When a test
// fails, the logs of all processes are shown.
//
// # Kinds
//
// A Kind is a task type as tests enqueue it, with the sandbox operation that counts
// its effects. The Fixture has kinds for each way in which a task may be repeated:
// at most once, at least once, and reconciled. The tests of a vendor add their own.
//
// # Sizes
//
// By default the tests of this package run with small numbers, in about a minute.
// With FLEET_LONG=1 in the environment they run with the numbers that the project
// promises (10,000 tasks behind a wrong password, for a full minute, on both kinds
// of Redis), in several minutes. Size chooses.
//
// # Secrets
//
// Every secret and every personal value of a Fixture contains its Canary, and
// payloads, results and tokens are sealed unless Options says otherwise.
// CheckSecrets looks for the canary, the tokens and the codes in all of Redis and in
// all logs.
//
// The package is for tests only and never linked into a command.
package fleet
