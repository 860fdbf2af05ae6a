// Package shop is an application of another module: it uses the public packages alone.
package shop

import (
	"context"
	"errors"
	"net/http"

	"errand.internal/clients"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dckap"
	"errand.internal/tasks/dinero"
)

// Errors of a login.
var (
	ErrTryLater  = errors.New("try again later")
	ErrWrongCode = errors.New("the code is wrong")
)

// Shop enqueues with a client: that of tasks.Open in production.
type Shop struct{ Queue tasks.Enqueuer }

// Open returns a shop whose tasks are in Redis.
func Open(redisURL string) (*Shop, error) {
	client, err := tasks.Open(redisURL, tasks.QueueLimit(10_000))
	if err != nil {
		return nil, err
	}
	return &Shop{Queue: client}, nil
}

// SendCode sends a code for a login, and returns what it is verified with.
func (s *Shop) SendCode(ctx context.Context, login, mail string) (tasks.ID, error) {
	ticket, err := tasks.Enqueue(ctx, s.Queue, danaconnect.OTPSend{
		IDConversation: 824541,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: mail}},
		OTPType:        1,
		Length:         6,
	}, tasks.Key(login))
	if err != nil {
		return "", err
	}
	sent, err := ticket.Wait(ctx)
	if err != nil {
		return "", errors.Join(ErrTryLater, err)
	}
	return tasks.ID(sent.IDRequest), nil
}

// Verify checks the code that a person typed.
func (s *Shop) Verify(ctx context.Context, id tasks.ID, code string) error {
	ticket, err := tasks.Enqueue(ctx, s.Queue, danaconnect.OTPVerify{IDRequest: id, OTP: code})
	if err != nil {
		return err
	}
	_, err = ticket.Wait(ctx)
	if o, ok := errors.AsType[*tasks.OutcomeError](err); ok && o.Outcome == tasks.Declined {
		return ErrWrongCode
	}
	return err
}

// Leave closes the access of many users, each once.
func (s *Shop) Leave(ctx context.Context, users []string) ([]*tasks.Ticket[tasks.None], error) {
	list := make([]anna.UserInactivate, len(users))
	for i, user := range users {
		list[i] = anna.UserInactivate{UserID: user}
	}
	return tasks.EnqueueAll(ctx, s.Queue, list, func(i int) []tasks.Option {
		return []tasks.Option{tasks.Key("leave-" + users[i]), tasks.Notify()}
	})
}

// Problems lists the fields at fault of a payload.
func Problems(err error) []tasks.Problem {
	if e, ok := errors.AsType[*tasks.PayloadError](err); ok {
		return e.Problems
	}
	return nil
}

// Calls are free calls of each vendor.
func Calls() (danaconnect.APICall, dckap.DynamicCall, dinero.APICall) {
	return danaconnect.APICall{Method: http.MethodGet, Path: "records", Query: danaconnect.Query{"fieldList": "EMAIL"}},
		dckap.DynamicCall{Listener: "64f1c0de0001", Query: dckap.Query{"dry": true}},
		dinero.APICall{OrganizationID: "123456", Method: http.MethodGet, Path: "contacts", Query: dinero.Query{"page": 1}}
}

// Settings are those of a vendor's client that the shop uses without a queue.
type Settings struct {
	Password clients.Secret
	Rate     clients.Rate
}

// OpenGate admits each call of such a client.
type OpenGate struct{}

var _ clients.Gate = OpenGate{}

// Acquire implements clients.Gate.
func (g OpenGate) Acquire(context.Context) (clients.Permit, error) {
	return g, nil
}

// Done implements clients.Permit.
func (OpenGate) Done(context.Context, clients.CallResult) {}
