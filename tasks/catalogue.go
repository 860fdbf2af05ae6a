package tasks

import (
	"errors"

	"errand.internal/internal/queue"
)

// Vendors is a list of vendors, with all their task types. Package all has the
// list of all vendors.
type Vendors []Vendor

// ErrUnknownType says that no task type has a name.
var ErrUnknownType = errors.New("no such task type")

// Types lists the task types.
func (vs Vendors) Types() []Info {
	var all []Info
	for _, v := range vs {
		all = append(all, v.Types()...)
	}
	return all
}

// Find returns the task type of that name.
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

// Decode reads the payload of a type known by name only, strictly, and checks its
// rules. It returns ErrUnknownType, or a *PayloadError that names every field at
// fault.
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

// Definitions lists the task types as a worker without any account runs them.
func (vs Vendors) Definitions() []queue.Definition {
	var all []queue.Definition
	for _, v := range vs {
		all = append(all, v.Definitions()...)
	}
	return all
}
