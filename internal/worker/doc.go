// Package worker runs one claimed task: it reads the payload, calls the vendor once
// through the task's handler, and decides what the end of that attempt means for
// the task.
//
//	broker ── Claim ──▶ Worker.handle
//	                      refuse          the claim alone decides (its time is up, …)
//	                      reconcile       ask the vendor about an attempt in doubt
//	                      call ─────────▶ handler ─▶ client ─▶ vendor
//	                      conclude        what becomes of the task: one place for all
//	broker ◀── Claim.End ─┘
//
// # Who decides
//
// A client says what happened (clients.Error and its Kind). A task says what it is
// (broker.Policy: budget, redelivery, backoff). conclude puts the two together;
// nothing else decides about retries, and no task has a rule of its own.
package worker
