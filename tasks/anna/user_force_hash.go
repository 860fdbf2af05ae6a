package anna

import (
	"context"
	"time"

	"errand.internal/tasks"
)

// UserForceHash makes a corporate user in AnnA, or gives an existing one this
// name, and mints a login. It opens access, also that of a user who was
// inactivated: one that was enqueued before the user's inactivation is
// superseded, and one that may have happened is not repeated. Its result opens
// the user's chat, so it is kept for five minutes only.
//
// https://docs.anna.center/anna-services/corporate-user/generate-hash
type UserForceHash struct {
	UserID       string `json:"userId" validate:"required,max=256" text:"id" doc:"the user to create or rename"`
	UserName     string `json:"userName" validate:"required,max=256" text:"line" doc:"the user's name from now on"`
	StartService string `json:"startService,omitempty" validate:"max=256" text:"line" clear:"true" doc:"service in which the chat opens"`
}

// Type implements tasks.Task.
func (UserForceHash) Type() string {
	return "anna:user:force_hash"
}

// Policy implements tasks.Task.
func (p UserForceHash) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:     "anna",
		Budget:    2 * time.Minute,
		Subjects:  []string{p.UserID},
		Retention: 5 * time.Minute,
		Intent:    tasks.Intent{Subject: p.UserID, Role: tasks.Opens},
		Backoff:   tasks.Backoff{Base: 500 * time.Millisecond, Max: 15 * time.Second},
	}
}

// Result implements tasks.Task.
func (UserForceHash) Result() (r UserAccess) {
	return r
}

func forceHashUser(c *client) tasks.Handler[UserForceHash, UserAccess] {
	return func(ctx context.Context, p UserForceHash) (UserAccess, error) {
		return c.UserHashForced(ctx, p.UserID, p.UserName, p.StartService)
	}
}
