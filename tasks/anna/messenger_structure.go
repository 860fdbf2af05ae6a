package anna

import (
	"context"
	"encoding/json"
	"time"

	"errand.internal/tasks"
)

// MessengerStructure lists the company's departments and channels in AnnA's
// messenger.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type MessengerStructure struct{}

// CompanyStructure is the structure as the vendor has it.
type CompanyStructure struct {
	Structure json.RawMessage `json:"structure"`
}

// Type implements tasks.Task.
func (MessengerStructure) Type() string {
	return "anna:messenger:structure"
}

// Policy implements tasks.Task.
func (MessengerStructure) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "anna",
		Budget:     5 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Backoff:    tasks.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

// Result implements tasks.Task.
func (MessengerStructure) Result() (r CompanyStructure) {
	return r
}

func readStructure(c *client) tasks.Handler[MessengerStructure, CompanyStructure] {
	return func(ctx context.Context, _ MessengerStructure) (CompanyStructure, error) {
		structure, err := c.Structure(ctx)
		return CompanyStructure{Structure: structure}, err
	}
}
