package anna

import (
	"context"
	"encoding/json"
	"time"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// MessengerRequests lists a user's requests in AnnA's messenger. The vendor's
// list holds a link to each request, so it is kept for ten minutes only.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type MessengerRequests struct {
	MessengerUser
	Filters MessengerFilters `json:"messengerFilters,omitzero" doc:"narrows the list"`
}

// UserRequests are a user's requests as the vendor has them.
type UserRequests struct {
	UserRequests json.RawMessage `json:"userRequests"`
}

// Type implements tasks.Task.
func (MessengerRequests) Type() string {
	return "anna:messenger:requests"
}

// Policy implements tasks.Task.
func (p MessengerRequests) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "anna",
		Subjects:   subjects(p.MessengerUser),
		Budget:     5 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Retention:  10 * time.Minute,
		Backoff:    tasks.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

// Check implements payload.Checker.
func (p MessengerRequests) Check() []payload.Problem {
	return append(p.Problems(), p.Filters.Problems("messengerFilters.")...)
}

// Result implements tasks.Task.
func (MessengerRequests) Result() (r UserRequests) {
	return r
}

func listRequests(c *client) tasks.Handler[MessengerRequests, UserRequests] {
	return func(ctx context.Context, p MessengerRequests) (UserRequests, error) {
		list, err := c.Requests(ctx, p.MessengerUser, p.Filters)
		return UserRequests{UserRequests: list}, err
	}
}
