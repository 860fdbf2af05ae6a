package tasks

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// MessengerLink gets the link under which a user's requests can be read in
// AnnA's messenger. Whoever has it reads them, so it is kept for five minutes
// only.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type MessengerLink struct {
	MessengerUser
}

// UserLink is such a link.
type UserLink = anna.Link

// Type implements Task.
func (MessengerLink) Type() string {
	return "anna:messenger:link"
}

// Defaults implements Task. Asking for another link does no harm.
func (MessengerLink) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      "anna",
		Budget:     2 * time.Minute,
		Repeatable: true,
		Keep:       5 * time.Minute,
		Backoff:    queue.Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second},
	}
}

// Check implements payload.Checker.
func (p MessengerLink) Check() []payload.Problem {
	return p.MessengerUser.Problems()
}

func (MessengerLink) result() (r UserLink) {
	return r
}

type linkReader interface {
	Link(ctx context.Context, u anna.User) (anna.Link, error)
}

func readLink(c linkReader) handler[MessengerLink, UserLink] {
	return func(ctx context.Context, p MessengerLink) (UserLink, error) {
		return c.Link(ctx, p.MessengerUser)
	}
}
