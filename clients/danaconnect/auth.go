package danaconnect

import (
	"context"
	"errors"
	"net/http"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// BasicCaller makes calls with the Basic login that the OTP API and the contact
// load share.
type BasicCaller struct {
	user     string
	password secret.String
	gate     admission.Gate
	caller   *clients.Caller
}

// NewBasicCaller returns a BasicCaller for the account of cfg. gate guards the
// account's password, so all clients of one account share it; caller carries the
// requests. An invalid cfg is refused with an error that names every invalid
// variable.
func NewBasicCaller(cfg BasicConfig, gate admission.Gate, caller *clients.Caller) (*BasicCaller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if gate == nil || caller == nil {
		return nil, errors.New("danaconnect: a gate and a caller are needed")
	}
	return &BasicCaller{
		user:     cfg.user(),
		password: cfg.Password,
		gate:     gate,
		caller:   caller,
	}, nil
}

// Do sends req once. read interprets the answer: what it proves about the login,
// which the gate learns, and the operation's error, which Do returns.
func (c *BasicCaller) Do(
	ctx context.Context,
	op string,
	req *http.Request,
	read func(*clients.Answer) (admission.Verdict, error),
) error {
	pass, err := c.gate.Acquire(ctx)
	if err != nil {
		return clients.BlockedError(Vendor, op, err)
	}
	verdict := admission.Inconclusive
	// The verdict is reported exactly once, even after a panic in the transport or
	// after the task's deadline.
	defer func() {
		pass.Done(context.WithoutCancel(ctx), admission.Result{Verdict: verdict})
	}()

	req.SetBasicAuth(c.user, c.password.Reveal())
	answer, err := c.caller.Do(ctx, op, req)
	if err != nil {
		return err
	}
	verdict, err = read(answer)
	if verdict != admission.Refused {
		c.caller.ReportRefusal(ctx, err)
		return err
	}
	c.caller.ReportRefusal(ctx, nil)
	if e, ok := clients.AsError(err); ok {
		// The error names the credential for which the task is parked.
		e.Err = &admission.Blocked{
			Key:     basicProfile,
			Reason:  "credential " + basicProfile + " was refused: the login was refused",
			Refused: true,
		}
	}
	return err
}
