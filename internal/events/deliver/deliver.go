// Package deliver has the task that posts an event to the operator's receiver. It
// belongs to no vendor, and only Errand enqueues it.
package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/events"
	"errand.internal/internal/payload"
	"errand.internal/internal/record"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// eventDeliver posts one event to the operator's receiver. Only Publisher enqueues
// it. A delivery that may have arrived is repeated, because a receiver recognizes an
// event by its ID.
type eventDeliver struct {
	ID        string    `json:"id" validate:"required,max=128" clear:"true" doc:"the event's ID, webhook-id on every try"`
	EventType string    `json:"type" validate:"required,max=64" clear:"true" doc:"what happened"`
	Timestamp string    `json:"timestamp" validate:"required" clear:"true" doc:"when it happened"`
	Data      eventData `json:"data" validate:"required" doc:"more, by type"`
}

// eventData is a JSON object, byte for byte.
type eventData json.RawMessage

// KindName names the type in descriptions.
func (*eventData) KindName() string {
	return "object"
}

// MarshalJSON implements json.Marshaler.
func (d eventData) MarshalJSON() ([]byte, error) {
	return json.RawMessage(d).MarshalJSON()
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *eventData) UnmarshalJSON(raw []byte) error {
	if len(raw) == 0 || raw[0] != '{' {
		return errors.New("must be an object")
	}
	*d = append((*d)[:0], raw...)
	return nil
}

// Type implements worker.Payload.
func (eventDeliver) Type() string {
	return events.DeliverType
}

// Policy implements worker.Payload.
func (eventDeliver) Policy() broker.Policy {
	return broker.Policy{
		Queue:      events.Queue,
		Budget:     24 * time.Hour,
		Redelivery: broker.AtLeastOnce,
		// While the receiver accepts no events, all deliveries wait longer, in step
		// (events.NewBreaker).
		Backoff: broker.Backoff{Base: time.Second, Max: time.Minute},
		// The key keeps an event from being enqueued twice. It is kept for at least as
		// long as the budget.
		Retention: 10 * time.Minute,
		KeyTTL:    24 * time.Hour,
	}
}

// Queue is the queue of the task.
var Queue = tasks.Queue{
	Name:        events.Queue,
	Concurrency: 10,
}

// Definition returns the task as a worker runs it. Without a sender, tasks wait for
// a worker that has one.
func Definition(sender *events.Sender) worker.Definition {
	d := worker.Definition{
		Type:   events.DeliverType,
		Vendor: events.Vendor,
		Base:   eventDeliver{}.Policy(),
		Decode: func(raw []byte) (worker.Payload, error) {
			var p eventDeliver
			if err := payload.Decode(raw, &p); err != nil {
				return nil, err
			}
			return p, nil
		},
	}
	if sender == nil {
		return d
	}
	d.Run = func(ctx context.Context, p worker.Payload) (any, error) {
		return nil, sender.Send(ctx, p.(eventDeliver).event(), worker.Tries(ctx) > 0)
	}
	return d
}

// Example is a valid payload.
var Example worker.Payload = eventDeliver{
	ID:        "evt_finished_otp_6wk3m5q2c4x7y",
	EventType: events.TaskFinished,
	Timestamp: "2026-01-31T12:00:00.000Z",
	Data:      eventData(`{"id":"otp_6wk3m5q2c4x7y"}`),
}

func (d eventDeliver) event() events.Event {
	return events.Event{
		ID:        d.ID,
		Type:      d.EventType,
		Timestamp: d.Timestamp,
		Data:      json.RawMessage(d.Data),
	}
}

// Publisher returns a Publish that enqueues one event:deliver task for each event
// ID.
func Publisher(producer *broker.Producer) events.Publish {
	return func(ctx context.Context, e events.Event) error {
		p := eventDeliver{
			ID:        e.ID,
			EventType: e.Type,
			Timestamp: e.Timestamp,
			Data:      eventData(e.Data),
		}
		raw, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encode the event: %w", err)
		}
		_, err = producer.Enqueue(ctx, broker.Job{
			Type:    p.Type(),
			Payload: raw,
			Policy:  p.Policy(),
			Key:     e.ID,
		})
		if errors.Is(err, record.ErrKeyConflict) {
			return nil // another process has enqueued it, with its own timestamp
		}
		return err
	}
}
