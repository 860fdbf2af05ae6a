package tasks

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/events"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
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

// Type implements Task.
func (MessengerAlerts) Type() string {
	return "anna:messenger:alerts"
}

// Defaults implements Task.
func (MessengerAlerts) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      "polls",
		Budget:     5 * time.Minute,
		Repeatable: true,
		Keep:       10 * time.Minute,
		Backoff:    queue.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

// Check implements payload.Checker.
func (p MessengerAlerts) Check() []payload.Problem {
	return append(p.MessengerUser.Problems(), p.Filters.Problems("messengerFilters.")...)
}

func (MessengerAlerts) result() (r AlertCount) {
	return r
}

type alertCounter interface {
	AlertCounter(ctx context.Context, u anna.User, f anna.Filters) (int, error)
}

// countAlerts reads the counter, and has a change of it noticed. The payload is
// the subject: the same user with other filters is another one, and so is a
// date given as such and one given as today.
func countAlerts(
	c alertCounter,
	changes *events.Detector,
) handler[MessengerAlerts, AlertCount] {
	return func(ctx context.Context, p MessengerAlerts) (AlertCount, error) {
		var reading *events.Reading
		if changes != nil {
			var err error
			if reading, err = changes.Begin(ctx, p); err != nil {
				return AlertCount{}, err
			}
		}
		n, err := c.AlertCounter(ctx, p.MessengerUser, p.Filters)
		if err == nil && reading != nil {
			err = reading.Saw(ctx, n)
		}
		return AlertCount{AlertCounter: n}, err
	}
}
