// Package events tells the operator's own system what happens in Errand: HTTP
// POST, signed as Standard Webhooks asks. docs/events.md is the receiver's side.
//
//	poll ────────────▶ Detector ─┐ a value has changed
//	announcements ───▶ Bulletin ─┼─▶ Publish ─▶ event:deliver task ─▶ Sender ─▶ sink
//	ends of tasks ───▶ Notices ──┘ with Notify, or dead
//
// # At least once, and told apart
//
// Each of the three writes into Redis what is to be sent before it enqueues
// the task, and takes it off that list only afterwards. Whoever dies in between
// leaves it to the next; the event's ID, which is the task's key and the
// webhook-id of every try, is in the list, so that an event that is enqueued
// twice is one task, and one that is delivered twice can be told by the
// receiver.
//
// The ends of tasks are written to their list by the very script that writes the
// end. Announcements wait in memory for Redis: each is made again by whoever
// meets the same credential, or the same unconfirmed task.
//
// # The sink
//
// Nothing of its answer counts but the status and Retry-After. 2xx is taken as
// delivered. 410 stops the sink: a mark in Redis keeps every worker from sending
// to that URL. Everything else is tried again, for a day; a sink that takes
// nothing is left alone meanwhile but for one event now and then (Rest).
//
// What becomes of an event is not the subject of another one.
package events
