package tasks

import (
	"context"
	"time"

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
)

// UserInactivate closes a corporate user's access in AnnA. It is tried for
// three days until the vendor confirms it, and never ends declined: an
// unconfirmed one ends failed.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type UserInactivate struct {
	UserID string `json:"userId" validate:"required,max=256" doc:"the user who leaves"`
}

// Type implements Task.
func (UserInactivate) Type() string {
	return "anna:user:inactivate"
}

// Defaults implements Task. Inactivating twice does no harm.
func (p UserInactivate) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      "anna",
		Budget:     72 * time.Hour,
		Repeatable: true,
		Intent:     ledger.Intent{Subject: p.UserID, Role: ledger.Closes},
		Trail:      p.UserID,
		Backoff:    queue.Backoff{Base: 2 * time.Second, Max: 10 * time.Minute},
	}
}

func (UserInactivate) result() (r None) {
	return r
}

type userInactivator interface {
	Inactivate(ctx context.Context, userID string) error
}

func inactivateUser(c userInactivator) handler[UserInactivate, None] {
	return func(ctx context.Context, p UserInactivate) (None, error) {
		return None{}, c.Inactivate(ctx, p.UserID)
	}
}
