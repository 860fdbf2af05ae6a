package app

import (
	"errand.internal/internal/events"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/payload"
	"errand.internal/internal/seal"
	"errand.internal/tasks/all"
)

// maskPayload shows a payload in the web UI: which fields it has, and the values
// of those that are not personal.
func maskPayload(taskType string, raw []byte) string {
	if seal.Sealed(raw) {
		return "[sealed]"
	}
	plain, err := (*seal.Ring)(nil).Open("", "", raw)
	if err != nil {
		return payload.Masked
	}
	if taskType == events.DeliverType {
		return payload.Mask(deliver.Example, plain)
	}
	info, ok := all.Vendors.Find(taskType)
	if !ok {
		return payload.Mask(nil, plain)
	}
	return payload.Mask(info.Example, plain)
}

// maskResult replaces what asynqmon shows as the result: results are not stored
// in asynq's task.
func maskResult(string, []byte) string {
	return "see enqueue status ID"
}
