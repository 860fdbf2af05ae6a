package app

import (
	"errand.internal/internal/events"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/payload"
	"errand.internal/internal/seal"
	"errand.internal/tasks/all"
)

// maskPayload renders a payload for the web UI: the fields that it has, and the
// values of those that are not personal.
func maskPayload(taskType string, raw []byte) string {
	if len(raw) == 0 { // a task that ended well
		return "[not kept]"
	}
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

// maskResult is what asynqmon shows as the result, because results are not stored in
// asynq's tasks.
func maskResult(string, []byte) string {
	return "see enqueue status ID"
}
