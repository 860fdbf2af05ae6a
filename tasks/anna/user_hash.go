package anna

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/tasks"
)

// UserHash mints a login for an active corporate user in AnnA. An inactive
// user is declined. Its result opens the user's chat, so it is kept for five
// minutes only.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type UserHash struct {
	UserID       string `json:"userId" validate:"required,max=256" text:"id" doc:"an active user"`
	StartService string `json:"startService,omitempty" validate:"max=256" text:"line" clear:"true" doc:"service in which the chat opens"`
}

// UserAccess is a minted login. Anyone who reads it can act as that user.
type UserAccess = anna.AccessData

// Type implements tasks.Task.
func (UserHash) Type() string {
	return "anna:user:hash"
}

// Policy implements tasks.Task. Minting another login does no harm.
func (p UserHash) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "anna",
		Budget:     2 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Retention:  5 * time.Minute,
		Subjects:   []string{p.UserID},
		Backoff:    tasks.Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second},
	}
}

// Result implements tasks.Task.
func (UserHash) Result() (r UserAccess) {
	return r
}

func hashUser(c *client) tasks.Handler[UserHash, UserAccess] {
	return func(ctx context.Context, p UserHash) (UserAccess, error) {
		return c.UserHash(ctx, p.UserID, p.StartService)
	}
}
