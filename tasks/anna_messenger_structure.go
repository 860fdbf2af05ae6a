package tasks

import (
	"context"
	"encoding/json"
	"time"

	"errand.internal/internal/queue"
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

// Type implements Task.
func (MessengerStructure) Type() string {
	return "anna:messenger:structure"
}

// Defaults implements Task.
func (MessengerStructure) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      "anna",
		Budget:     5 * time.Minute,
		Repeatable: true,
		Backoff:    queue.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

func (MessengerStructure) result() (r CompanyStructure) {
	return r
}

type structureReader interface {
	Structure(ctx context.Context) (json.RawMessage, error)
}

func readStructure(c structureReader) handler[MessengerStructure, CompanyStructure] {
	return func(ctx context.Context, _ MessengerStructure) (CompanyStructure, error) {
		structure, err := c.Structure(ctx)
		return CompanyStructure{Structure: structure}, err
	}
}
