package events

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Types of events that are no announcements; those have the announcement's kind
// as their type.
const (
	// AlertsChanged: an alert counter has another value than at the last read.
	AlertsChanged = "messenger.alerts.changed"
	// TaskFinished: a task that was enqueued with Notify has ended.
	TaskFinished = "task.finished"
)

// DeliverType is the type of the tasks that deliver events.
const DeliverType = "event:deliver"

// Queue carries those tasks.
const Queue = "events"

// Event is one event as it is delivered.
type Event struct {
	// ID is the event's for ever: the task's key, and webhook-id on every try. It
	// reveals nothing personal.
	ID   string `json:"id"`
	Type string `json:"type"`
	// Timestamp is when it happened, in RFC 3339.
	Timestamp string `json:"timestamp"`
	// Data is a JSON object.
	Data json.RawMessage `json:"data"`
}

// Publish hands an event over for delivery. When it returns nil, the event is
// in Redis; doing so again with the same event does nothing.
type Publish func(ctx context.Context, e Event) error

// Body is what is sent: type, timestamp, data, in this order.
func (e Event) Body() ([]byte, error) {
	body, err := json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{e.Type, e.Timestamp, e.Data})
	if err != nil {
		return nil, fmt.Errorf("encode the event: %w", err)
	}
	return body, nil
}

// newEvent makes an event; data must encode to a JSON object.
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

// key puts a name into the slot of the events' queue.
func key(parts ...string) string {
	return "errand:{" + Queue + "}:" + strings.Join(parts, ":")
}
