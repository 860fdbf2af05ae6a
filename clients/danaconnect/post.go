package danaconnect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// post makes one call behind the gate and reads its answer.
func (c *OTPClient) post(ctx context.Context, op, path string, payload any) (reading, error) {
	req, err := c.request(path, payload)
	if err != nil {
		return reading{}, &clients.Error{Vendor: Vendor, Op: op, Kind: clients.Invalid, Message: err.Error(), NotSent: true}
	}
	pass, err := c.gate.Enter(ctx)
	if err != nil {
		return reading{}, gateError(op, err)
	}
	verdict := tokens.NoVerdict
	// Reported exactly once, also when something panics in between or the task's
	// own time is up.
	defer func() { pass.Report(context.WithoutCancel(ctx), verdict) }()

	answer, err := c.caller.Do(ctx, op, req)
	if err != nil {
		return reading{}, err
	}
	got := read(op, answer)
	verdict = got.login
	if got.err == nil {
		return got, nil
	}
	if verdict == tokens.Refused {
		// So that whoever parks the task knows what it waits for.
		got.err.Err = &tokens.RefusedError{Profile: profileOTP, Reason: "the login was refused"}
	}
	return got, got.err
}

// request builds what goes out. Errors quote nothing of it.
func (c *OTPClient) request(path string, payload any) (*http.Request, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // "Tom & Co" as it is
	if err := enc.Encode(payload); err != nil {
		return nil, errors.New("the request cannot be written as JSON")
	}
	// The context is the Caller's to set.
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.base.Join(path), bytes.NewReader(bytes.TrimSpace(body.Bytes())))
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(c.login, c.password.Reveal())
	return req, nil
}

// gateError is a call that the gate did not let out.
func gateError(op string, err error) *clients.Error {
	e := &clients.Error{Vendor: Vendor, Op: op, Kind: clients.Temporary, NotSent: true}
	if cooling, ok := errors.AsType[*tokens.CoolingError](err); ok {
		e.Kind, e.Message = clients.Credentials, "the login was refused lately and rests"
		e.RetryAfter, e.Err = cooling.RetryAfter, cooling
		return e
	}
	if down, ok := errors.AsType[*tokens.UnavailableError](err); ok {
		e.Message, e.RetryAfter, e.Err = "the login cannot be used now", down.RetryAfter, down
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		e.Message, e.Err = "cancelled while waiting to use the login", context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		e.Message, e.Err = "out of time while waiting to use the login", context.DeadlineExceeded
	default:
		e.Message = "the login cannot be used now" // the cause's text is not ours
	}
	return e
}
