// Package events reports what happens in Errand to the operator's own system:
// one HTTP POST per event, signed as Standard Webhooks specifies.
// docs/events.md describes the receiver's side.
//
//	polls ────────▶ Detector ───────┐ a value has changed
//	alerts ───────▶ AlertPublisher ─┼─▶ Publish ─▶ event:deliver task ─▶ Sender ─▶ receiver
//	task ends ────▶ Outbox ─────────┘ with Notify, or dead letters
//
// # At-least-once delivery
//
// Detector, AlertPublisher and Outbox each record an event in Redis before they
// enqueue its task, and remove the record only afterwards. If a worker dies in
// between, another one enqueues the event. The record includes the event's ID,
// which is the task's key and the webhook-id of every try: enqueueing an event
// twice yields one task, and a receiver recognizes a repeated delivery.
//
// The script that ends a task writes its outbox entry, so neither exists without
// the other. Alerts wait in memory while Redis is unreachable and are lost with
// the process; the next worker that meets the same credential or the same
// unconfirmed task raises them again.
//
// # The receiver
//
// Only the status and Retry-After of an answer count. A 2xx means delivered. A
// 410 stops delivery: a mark in Redis keeps every worker from sending to that
// URL. Any other answer is retried for a day; a receiver that accepts nothing
// gets a probe now and then until it accepts one (Rest).
//
// The fate of a delivery never becomes an event itself.
package events
