package app

import (
	"errand.internal/internal/payload"
	"errand.internal/internal/seal"
	"errand.internal/tasks"
)

// maskPayload shows a payload in the web UI: which fields there are, and the
// values of those that are not personal.
func maskPayload(taskType string, raw []byte) string {
	if seal.Sealed(raw) {
		return "[sealed]"
	}
	plain, err := (*seal.Ring)(nil).Open("", "", raw)
	if err != nil {
		return payload.Masked
	}
	info, ok := tasks.Find(taskType)
	if !ok {
		return payload.Mask(nil, plain)
	}
	return payload.Mask(info.Example, plain)
}

// maskResult stands where asynqmon shows results: they are not in asynq.
func maskResult(string, []byte) string {
	return "see enqueue status ID"
}
