// Package annademo is AnnA's part of the demo.
package annademo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/demo"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// alertsChanged is the type of the event that reports a changed alert counter.
const alertsChanged = "messenger.alerts.changed"

// Vendor shows an employee's off-boarding, and alert counters that are polled.
var Vendor = demo.Vendor{
	NewSandbox: annatest.Demo,
	Steps:      steps,
	Schedules: `- name: demo-alerts
  every: 2s
  type: anna:messenger:alerts
  forEach: {userId: [` + annatest.DemoUser + `]}
`,
	Commands:       commands,
	PrepareExample: prepareExample,
}

func steps(stage demo.Stage) []demo.Step {
	s := story{
		client:     stage.Client,
		vendor:     stage.Sandbox.(*annatest.Sandbox),
		awaitEvent: stage.AwaitEvent,
	}
	return []demo.Step{
		{
			Title: "a leaver is inactivated",
			Run:   s.inactivate,
		},
		{
			Title: "the leaver is refused a login",
			Run:   s.refuseLogin,
		},
		{
			Title: "an alert counter is read",
			Run: func(ctx context.Context) (string, error) {
				return s.readAlerts(ctx, 2)
			},
		},
		{
			Title: "it is read again after a change",
			Run: func(ctx context.Context) (string, error) {
				return s.readAlerts(ctx, 3)
			},
		},
		{
			Title: "a signed event reports the change",
			Run: func(ctx context.Context) (string, error) {
				return s.awaitAlerts(ctx, 3)
			},
		},
		{
			Title: "the schedule notices the next change by itself",
			Run: func(ctx context.Context) (string, error) {
				if err := s.vendor.SetAlerts(annatest.DemoUser, 4); err != nil {
					return "", err
				}
				return s.awaitAlerts(ctx, 4)
			},
		},
	}
}

// story is what the steps share.
type story struct {
	client     *tasks.Client
	vendor     *annatest.Sandbox
	awaitEvent func(ctx context.Context, eventType string, matches func(data json.RawMessage) bool) error
}

func (s story) inactivate(ctx context.Context) (string, error) {
	_, err := demo.Run(ctx, s.client, anna.UserInactivate{UserID: annatest.DemoLeaver})
	if err == nil && s.vendor.Active(annatest.DemoLeaver) {
		err = errors.New("the user is still active")
	}
	return "done", err
}

func (s story) refuseLogin(ctx context.Context) (string, error) {
	_, err := demo.Run(ctx, s.client, anna.UserHash{UserID: annatest.DemoLeaver})
	return "declined", demo.WantOutcome(err, tasks.Declined)
}

// readAlerts sets the user's alert counter at the vendor and reads it by a task.
func (s story) readAlerts(ctx context.Context, n int) (string, error) {
	if err := s.vendor.SetAlerts(annatest.DemoUser, n); err != nil {
		return "", err
	}
	got, err := demo.Run(ctx, s.client, anna.MessengerAlerts{
		MessengerUser: anna.MessengerUser{UserID: annatest.DemoUser},
	})
	if err == nil && got.AlertCounter != n {
		err = fmt.Errorf("the counter reads %d, want %d", got.AlertCounter, n)
	}
	return fmt.Sprintf("done: alertCounter %d", got.AlertCounter), err
}

// awaitAlerts waits for the event that the user's alert counter is n now.
func (s story) awaitAlerts(ctx context.Context, n int) (string, error) {
	var change struct {
		Subject struct {
			UserID string `json:"userId"`
		} `json:"subject"`
		Current  int   `json:"current"`
		Sequence int64 `json:"sequence"`
	}
	err := s.awaitEvent(ctx, alertsChanged, func(data json.RawMessage) bool {
		return json.Unmarshal(data, &change) == nil &&
			change.Subject.UserID == annatest.DemoUser &&
			change.Current == n
	})
	return fmt.Sprintf("%s, sequence %d", alertsChanged, change.Sequence), err
}

func commands(sandboxURL string) []demo.Command {
	return []demo.Command{
		{
			Purpose: "change a user's alert counter; a schedule reads it every two seconds, and an event follows",
			Line:    "curl -s -X PUT " + sandboxURL + "_sandbox/alerts/" + annatest.DemoUser + ` -d '{"alertCounter":7}'`,
		},
		{
			Purpose: "mint a login for the user, and have an event sent when the task ends",
			Line:    "go run ./cmd/enqueue anna:user:hash --set userId=" + annatest.DemoUser + " --notify",
		},
		{
			Purpose: "close the user's access; minting a login is declined from then on",
			Line:    "go run ./cmd/enqueue anna:user:inactivate --set userId=" + annatest.DemoUser + " --wait 10s",
		},
	}
}

// prepareExample makes the user of the examples active again, because one of them
// inactivates it.
func prepareExample(v sandbox.Vendor) {
	v.(*annatest.Sandbox).PutUser(annatest.DemoUser, true)
}
