package events

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// TaskFinished is the type of the event that reports the end of a task enqueued
// with Notify. An alert's event has the alert's kind as its type, and a Detector's
// events have the type that its DetectorConfig names.
const TaskFinished = "task.finished"

// DeliverType is the type of the tasks that deliver events.
const DeliverType = "event:deliver"

// Queue holds the tasks that deliver events.
const Queue = "events"

// Event is one event as it is delivered.
type Event struct {
	// ID is the task's key and the webhook-id of every try. It reveals no personal
	// data.
	ID   string `json:"id"`
	Type string `json:"type"`
	// Timestamp is when it happened, in RFC 3339.
	Timestamp string `json:"timestamp"`
	// Data is a JSON object.
	Data json.RawMessage `json:"data"`
}

// Publish hands an event over for delivery. Once it returns nil, the event is in
// Redis. Publishing the same event again has no effect.
type Publish func(ctx context.Context, e Event) error

// Body returns the request body: type, timestamp and data, in this order.
func (e Event) Body() ([]byte, error) {
	body, err := json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{
		Type:      e.Type,
		Timestamp: e.Timestamp,
		Data:      e.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the event: %w", err)
	}
	return body, nil
}

// newEvent builds an event; data must encode to a JSON object.
func newEvent(id, eventType string, at time.Time, data any) (Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return Event{}, fmt.Errorf("encode the event's data: %w", err)
	}
	return Event{
		ID:        id,
		Type:      eventType,
		Timestamp: at.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		Data:      raw,
	}, nil
}

func newID() string {
	return "evt_" + strings.ToLower(rand.Text())
}

// key returns a Redis key in the cluster slot of the events queue.
func key(parts ...string) string {
	return "errand:{" + Queue + "}:" + strings.Join(parts, ":")
}
