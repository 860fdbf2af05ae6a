// Package httpapi is the HTTP interface of producers (API_ADDR): what package tasks and
// the command enqueue do, for an application in any language. docs/producing.md is its
// manual.
//
// A request passes, in this order:
//
//	limits     of the headers and of the time (internal/webserver), of the body (here)
//	key        Authorization: Bearer …; a refusal is slowed and counted
//	rate       of the key, and how many of its requests run at once
//	call       the same steps as the command's (internal/produce, internal/bulk)
//
// Every error is a Problem (RFC 9457). Nothing of a request is ever logged but the name
// of its key, its call and its status.
//
// The description at /v1/openapi.json is made from the payload types, by the same tags
// that Decode follows (internal/payload), and from the routes that serve it.
package httpapi
