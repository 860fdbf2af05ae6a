package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"errand.internal/internal/broker"
)

// Payload is what every task's payload knows about itself.
type Payload interface {
	// Type is the task's name, for ever: "danaconnect:otp:send".
	Type() string
	Policy() broker.Policy
}

// Definition is one task type as the worker sees it.
type Definition struct {
	Type string
	// Vendor names whose call it is; it decides how long an attempt may take.
	Vendor string
	// Base is the policy where there is no payload to ask.
	Base broker.Policy
	// Decode reads a payload strictly and checks its rules.
	Decode func(raw []byte) (Payload, error)
	// Run calls the vendor once and returns the result, nil if there is none.
	// It is nil itself where this worker has no credentials for the vendor: the
	// task is parked for one that has them.
	Run func(ctx context.Context, p Payload) (any, error)
	// Reconcile tells whether an earlier Run that may have happened did. It is set
	// for a Reconciled task: the vendor is asked twice, with a pause longer than a
	// call, before the task is run again.
	Reconcile func(ctx context.Context, p Payload) (result any, found bool, err error)
}

type taskIDKey struct{}

// TaskID is the ID of the task that a handler runs, "" outside of one. It is
// the same in every attempt.
func TaskID(ctx context.Context) string {
	id, _ := ctx.Value(taskIDKey{}).(string)
	return id
}

// WithTaskID gives a handler its task's ID.
func WithTaskID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, taskIDKey{}, id)
}

type triesKey struct{}

// Tries is how often the task of a handler was attempted before, as far as that
// counts against its budget of attempts.
func Tries(ctx context.Context) int {
	n, _ := ctx.Value(triesKey{}).(int)
	return n
}

// encodeResult turns a result into what the record keeps; nothing for a nil
// result.
func encodeResult(result any) ([]byte, error) {
	if result == nil {
		return nil, nil
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	return raw, nil
}
