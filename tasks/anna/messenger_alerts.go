package anna

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/events"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// MessengerAlerts counts the open requests that wait for a user's answer in
// AnnA's messenger.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type MessengerAlerts struct {
	MessengerUser
	Filters MessengerFilters `json:"messengerFilters,omitzero" doc:"narrows the count"`
}

// MessengerUser identifies the user whose requests are meant.
type MessengerUser = anna.User

// MessengerFilters narrow a messenger query. An empty field does not filter.
type MessengerFilters = anna.Filters

// AlertCount is how many open requests wait for the user's answer.
type AlertCount struct {
	AlertCounter int `json:"alertCounter"`
}

// Type implements tasks.Task.
func (MessengerAlerts) Type() string {
	return "anna:messenger:alerts"
}

// Policy implements tasks.Task.
func (p MessengerAlerts) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "polls",
		Subjects:   subjects(p.MessengerUser),
		Budget:     5 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Retention:  10 * time.Minute,
		Backoff:    tasks.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

// Check implements payload.Checker.
func (p MessengerAlerts) Check() []payload.Problem {
	return append(p.Problems(), p.Filters.Problems("messengerFilters.")...)
}

// Result implements tasks.Task.
func (MessengerAlerts) Result() (r AlertCount) {
	return r
}

// countAlerts reads the counter and tells the alert detector about it. The
// subject of a change is the payload: the same user with other filters is another
// subject, and so is a fixed date beside "today".
func countAlerts(c *client) tasks.Handler[MessengerAlerts, AlertCount] {
	return func(ctx context.Context, p MessengerAlerts) (AlertCount, error) {
		var reading *events.Reading
		if c.alerts != nil {
			var err error
			if reading, err = c.alerts.Begin(ctx, p); err != nil {
				return AlertCount{}, err
			}
		}
		n, err := c.AlertCounter(ctx, p.MessengerUser, p.Filters)
		if err == nil && reading != nil {
			err = reading.Record(ctx, n)
		}
		return AlertCount{AlertCounter: n}, err
	}
}
