package tasks

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/queue"
)

// UserHash mints a login for an active corporate user in AnnA. An inactive
// user is declined. Its result opens the user's chat, so it is kept for five
// minutes only.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type UserHash struct {
	UserID       string `json:"userId" validate:"required,max=256" doc:"an active user"`
	StartService string `json:"startService,omitempty" validate:"max=256" clear:"true" doc:"where the chat opens"`
}

// UserAccess is a minted login. Whoever reads it is that user.
type UserAccess = anna.AccessData

// Type implements Task.
func (UserHash) Type() string {
	return "anna:user:hash"
}

// Defaults implements Task. Minting another login does no harm.
func (UserHash) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      "anna",
		Budget:     2 * time.Minute,
		Repeatable: true,
		Keep:       5 * time.Minute,
		Backoff:    queue.Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second},
	}
}

func (UserHash) result() (r UserAccess) {
	return r
}

type userHasher interface {
	UserHash(ctx context.Context, userID, startService string) (anna.AccessData, error)
}

func hashUser(c userHasher) handler[UserHash, UserAccess] {
	return func(ctx context.Context, p UserHash) (UserAccess, error) {
		return c.UserHash(ctx, p.UserID, p.StartService)
	}
}
