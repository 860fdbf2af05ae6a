package tasks

import (
	"errors"

	"errand.internal/internal/worker"
)

// Vendors is a list of vendors. Package all has the list of all of them.
type Vendors []Vendor

// ErrUnknownType says that no task type has the given name.
var ErrUnknownType = errors.New("no such task type")

// Types lists the task types.
func (vs Vendors) Types() []Info {
	var all []Info
	for _, v := range vs {
		all = append(all, v.Types()...)
	}
	return all
}

// Find returns the task type with the given name.
func (vs Vendors) Find(taskType string) (Info, bool) {
	for _, v := range vs {
		for _, a := range v.Accounts {
			for _, info := range a.types {
				if info.Type == taskType {
					info.Vendor = v.Name
					return info, true
				}
			}
		}
	}
	return Info{}, false
}

// Decode decodes the payload of the type with the given name strictly and validates
// it. Its error is ErrUnknownType or a *PayloadError that names every invalid field.
func (vs Vendors) Decode(taskType string, raw []byte) (Payload, error) {
	info, ok := vs.Find(taskType)
	if !ok {
		return nil, ErrUnknownType
	}
	return info.Decode(raw)
}

// Queues lists the queues of the vendors.
func (vs Vendors) Queues() []Queue {
	var all []Queue
	for _, v := range vs {
		all = append(all, v.Queues...)
	}
	return all
}

// Definitions lists the task types for a worker without accounts: their tasks wait
// for a worker that has one.
func (vs Vendors) Definitions() []worker.Definition {
	var all []worker.Definition
	for _, v := range vs {
		all = append(all, v.Definitions()...)
	}
	return all
}
