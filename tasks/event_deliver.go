package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/events"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
)

// eventDeliver posts one event to the operator's receiver. It is internal:
// Errand enqueues it itself, through Publisher. A try that may have arrived is
// repeated, because a receiver tells events apart by their ID.
type eventDeliver struct {
	ID        string    `json:"id" validate:"required,max=128" clear:"true" doc:"the event's ID, webhook-id on every try"`
	EventType string    `json:"type" validate:"required,max=64" clear:"true" doc:"what happened"`
	Timestamp string    `json:"timestamp" validate:"required" clear:"true" doc:"when it happened"`
	Data      eventData `json:"data" validate:"required" doc:"more, by type"`
}

// eventData is a JSON object, kept as it is.
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

// Type implements Task.
func (eventDeliver) Type() string {
	return events.DeliverType
}

// Defaults implements Task.
func (eventDeliver) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      events.Queue,
		Budget:     24 * time.Hour,
		Repeatable: true,
		// Events wait longer together, for a receiver that takes none (events.NewRest).
		Backoff: queue.Backoff{Base: time.Second, Max: time.Minute},
		// The key, which keeps an event from being enqueued twice, outlives the
		// budget in any case.
		Keep:    10 * time.Minute,
		KeyLife: 24 * time.Hour,
	}
}

func (eventDeliver) result() (r None) {
	return r
}

// EventSender delivers events to the operator's receiver.
type EventSender interface {
	Send(ctx context.Context, e events.Event, again bool) error
}

func deliverEvent(c EventSender) handler[eventDeliver, None] {
	return func(ctx context.Context, p eventDeliver) (None, error) {
		return None{}, c.Send(ctx, events.Event{
			ID:        p.ID,
			Type:      p.EventType,
			Timestamp: p.Timestamp,
			Data:      json.RawMessage(p.Data),
		}, queue.Tries(ctx) > 0)
	}
}

// Publisher returns how events are handed over for delivery: as event:deliver
// tasks of the producer, one for each ID.
func Publisher(producer *queue.Producer) events.Publish {
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
		_, err = producer.Enqueue(ctx, queue.Job{
			Type:     p.Type(),
			Payload:  raw,
			Defaults: p.Defaults(),
			Key:      e.ID,
		})
		if errors.Is(err, ledger.ErrKeyConflict) {
			return nil // it is there, with the timestamp of whoever was first
		}
		return err
	}
}
