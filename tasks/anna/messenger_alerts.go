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

// MessengerUser says whose requests: UserID, or both of UserDocType and
// UserDocValue.
type MessengerUser struct {
	UserID       string `json:"userId,omitempty" validate:"max=256" doc:"the user, or both of the following"`
	UserDocType  string `json:"userDocType,omitempty" validate:"max=64" clear:"true" doc:"kind of the user's document"`
	UserDocValue string `json:"userDocValue,omitempty" validate:"max=256" doc:"number of the user's document"`
}

// MessengerFilters narrow a messenger query; what is left out filters nothing.
type MessengerFilters struct {
	DepartmentAlias string `json:"departmentAlias,omitempty" validate:"max=256" clear:"true" doc:"one department"`
	ChannelAlias    string `json:"channelAlias,omitempty" validate:"max=256" clear:"true" doc:"one channel"`
	DataIni         string `json:"dataIni,omitempty" clear:"true" doc:"first date: DD/MM/YYYY, today, today-7d"`
	DataFim         string `json:"dataFim,omitempty" clear:"true" doc:"last date: DD/MM/YYYY, today, today-7d"`
	Status          string `json:"status,omitempty" validate:"omitempty,oneof=A E" clear:"true" doc:"A open, E closed"`
	Pendentes       string `json:"pendentes,omitempty" validate:"omitempty,oneof=S N" clear:"true" doc:"S waits for the user's answer, N does not"`
}

// AlertCount is how many open requests wait for the user's answer.
type AlertCount struct {
	AlertCounter int `json:"alertCounter"`
}

// Type implements tasks.Task.
func (MessengerAlerts) Type() string {
	return "anna:messenger:alerts"
}

// Policy implements tasks.Task.
func (MessengerAlerts) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "polls",
		Budget:     5 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Retention:       10 * time.Minute,
		Backoff:    tasks.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

// Check implements payload.Checker.
func (p MessengerAlerts) Check() []payload.Problem {
	return append(p.userProblems(), p.Filters.problems("messengerFilters.")...)
}

func (u MessengerUser) userProblems() []payload.Problem {
	pair := u.UserDocType != "" || u.UserDocValue != ""
	switch {
	case u.UserID == "" && !pair:
		return []payload.Problem{
			{
				Field: "userId",
				Rule:  "is required, or both of userDocType and userDocValue",
			},
		}
	case u.UserID != "" && pair:
		return []payload.Problem{
			{
				Field: "userId",
				Rule:  "must not be given together with userDocType or userDocValue",
			},
		}
	case pair && u.UserDocType == "":
		return []payload.Problem{
			{Field: "userDocType", Rule: "is required with userDocValue"},
		}
	case pair && u.UserDocValue == "":
		return []payload.Problem{
			{Field: "userDocValue", Rule: "is required with userDocType"},
		}
	}
	return nil
}

func (f MessengerFilters) problems(prefix string) []payload.Problem {
	var found []payload.Problem
	for _, d := range []struct{ name, value string }{{"dataIni", f.DataIni}, {"dataFim", f.DataFim}} {
		if d.value != "" && !anna.ValidDate(d.value) {
			found = append(
				found,
				payload.Problem{
					Field: prefix + d.name,
					Rule:  "must be DD/MM/YYYY, today, or today-7d",
				},
			)
		}
	}
	return found
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
		n, err := c.AlertCounter(ctx, anna.AlertQuery{
			UserID:       p.UserID,
			UserDocType:  p.UserDocType,
			UserDocValue: p.UserDocValue,
			Filters:      anna.Filters(p.Filters),
		})
		if err == nil && reading != nil {
			err = reading.Record(ctx, n)
		}
		return AlertCount{AlertCounter: n}, err
	}
}
