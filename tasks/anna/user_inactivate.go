package anna

import (
	"context"
	"time"

	"errand.internal/tasks"
)

// UserInactivate closes a corporate user's access in AnnA. It is tried for
// three days until the vendor confirms it, and never ends declined: an
// unconfirmed one ends failed.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type UserInactivate struct {
	UserID string `json:"userId" validate:"required,max=256" text:"id" doc:"the user to inactivate"`
}

// Type implements tasks.Task.
func (UserInactivate) Type() string {
	return "anna:user:inactivate"
}

// Policy implements tasks.Task. Inactivating twice does no harm.
func (p UserInactivate) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:        "anna",
		Budget:       72 * time.Hour,
		Redelivery:   tasks.AtLeastOnce,
		Intent:       tasks.Intent{Subject: p.UserID, Role: tasks.Closes},
		AuditSubject: p.UserID,
		Subjects:     []string{p.UserID},
		Backoff:      tasks.Backoff{Base: 2 * time.Second, Max: 10 * time.Minute},
	}
}

// Result implements tasks.Task.
func (UserInactivate) Result() (r tasks.None) {
	return r
}

func inactivateUser(c *client) tasks.Handler[UserInactivate, tasks.None] {
	return func(ctx context.Context, p UserInactivate) (tasks.None, error) {
		return tasks.None{}, c.Inactivate(ctx, p.UserID)
	}
}
