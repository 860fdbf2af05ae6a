package danaconnect

import (
	"context"
	"encoding/json"
	"time"

	"errand.internal/clients/danaconnect/api"
	"errand.internal/internal/freecall"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// ConversationStart starts a DANAConnect conversation for one contact, over API 2.0.
// Done means that the vendor accepted the start, not that a message arrived. The task
// is attempted at most once unless the request certainly never left, because each
// start sends the messages again.
//
// https://dev.danaconnect.com/openapi/conversation-reference
type ConversationStart struct {
	IDConversation tasks.ID `json:"idConversation,omitempty" text:"number" clear:"true" doc:"id of the conversation's activation, unless idProject is given; a reactivated flow gets a new one"`
	IDProject      tasks.ID `json:"idProject,omitempty" text:"number" clear:"true" doc:"id of the project; it stays the same when the flow is reactivated"`
	Data           Fields   `json:"data" validate:"required,min=1" text:"lines" doc:"the contact's fields by field code; a value is text, a number, true or false"`
}

// Fields are a contact's fields by field code. A value is text, a number (sent as it
// was written), true or false.
type Fields map[string]any

// TextMembers tells enqueue --set that every member is text, so that a phone number
// keeps its leading zeros.
func (*Fields) TextMembers() {}

func (f Fields) problems(field string) []payload.Problem {
	var found []payload.Problem
	for name, value := range f {
		raw, err := json.Marshal(value)
		if _, scalar := freecall.ScalarText(raw); err != nil || !scalar || name == "" {
			found = append(
				found,
				payload.Problem{
					Field: field + "." + name,
					Rule:  "must be text, a number, true or false, under a field code",
				},
			)
		}
	}
	return found
}

// Type implements tasks.Task.
func (ConversationStart) Type() string {
	return "danaconnect:conversation:start"
}

// Policy implements tasks.Task.
func (p ConversationStart) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:    "danaconnect",
		Budget:   time.Hour,
		Subjects: p.Data.subjects(),
		Backoff:  tasks.Backoff{Base: time.Second, Max: 2 * time.Minute},
	}
}

// Check implements payload.Checker.
func (p ConversationStart) Check() []payload.Problem {
	found := p.Data.problems("data")
	switch {
	case p.IDConversation == "" && p.IDProject == "":
		found = append(
			found,
			payload.Problem{
				Field: "idConversation",
				Rule:  "is required, or else idProject",
			},
		)
	case p.IDConversation != "" && p.IDProject != "":
		found = append(
			found,
			payload.Problem{
				Field: "idConversation",
				Rule:  "must not be given together with idProject",
			},
		)
	}
	return found
}

// Result implements tasks.Task.
func (ConversationStart) Result() (r tasks.Reply) {
	return r
}

func startConversation(c *api.Client) tasks.Handler[ConversationStart, tasks.Reply] {
	return func(ctx context.Context, p ConversationStart) (tasks.Reply, error) {
		return c.StartConversation(ctx, api.Start{
			IDConversation: string(p.IDConversation),
			IDProject:      string(p.IDProject),
			Data:           p.Data,
		})
	}
}
