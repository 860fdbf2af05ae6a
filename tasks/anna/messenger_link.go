package anna

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// MessengerLink gets the link under which a user's requests can be read in
// AnnA's messenger. Anyone who has the link can read them, so it is kept for only
// five minutes.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type MessengerLink struct {
	MessengerUser
}

// UserLink is such a link.
type UserLink = anna.Link

// Type implements tasks.Task.
func (MessengerLink) Type() string {
	return "anna:messenger:link"
}

// Policy implements tasks.Task. Asking for another link does no harm.
func (p MessengerLink) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "anna",
		Subjects:   subjects(p.MessengerUser),
		Budget:     2 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Retention:  5 * time.Minute,
		Backoff:    tasks.Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second},
	}
}

// Check implements payload.Checker.
func (p MessengerLink) Check() []payload.Problem {
	return p.Problems()
}

// Result implements tasks.Task.
func (MessengerLink) Result() (r UserLink) {
	return r
}

func readLink(c *client) tasks.Handler[MessengerLink, UserLink] {
	return func(ctx context.Context, p MessengerLink) (UserLink, error) {
		return c.Link(ctx, p.MessengerUser)
	}
}
