package tasks

import (
	"context"
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
)

// UserForceHash makes a corporate user in AnnA, or gives an existing one this
// name, and mints a login. It opens access, also that of a user who was
// inactivated: one that was enqueued before the user's inactivation is
// superseded, and one that may have happened is not repeated. Its result opens
// the user's chat, so it is kept for five minutes only.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type UserForceHash struct {
	UserID       string `json:"userId" validate:"required,max=256" doc:"the user to make or change"`
	UserName     string `json:"userName" validate:"required,max=256" doc:"the user's name from now on"`
	StartService string `json:"startService,omitempty" validate:"max=256" clear:"true" doc:"where the chat opens"`
}

// Type implements Task.
func (UserForceHash) Type() string {
	return "anna:user:force_hash"
}

// Defaults implements Task.
func (p UserForceHash) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:   "anna",
		Budget:  2 * time.Minute,
		Keep:    5 * time.Minute,
		Intent:  ledger.Intent{Subject: p.UserID, Role: ledger.Opens},
		Backoff: queue.Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second},
	}
}

func (UserForceHash) result() (r UserAccess) {
	return r
}

type userForceHasher interface {
	UserHashForced(
		ctx context.Context,
		userID, userName, startService string,
	) (anna.AccessData, error)
}

func forceHashUser(c userForceHasher) handler[UserForceHash, UserAccess] {
	return func(ctx context.Context, p UserForceHash) (UserAccess, error) {
		return c.UserHashForced(ctx, p.UserID, p.UserName, p.StartService)
	}
}
