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
func (c *OTPClient) post(
	ctx context.Context,
	op, path string,
	payload any,
) (reading, error) {
	req, err := c.request(path, payload)
	if err != nil {
		return reading{}, &clients.Error{
			Vendor:  Vendor,
			Op:      op,
			Kind:    clients.Invalid,
			Message: err.Error(),
			NotSent: true,
		}
	}
	pass, err := c.gate.Enter(ctx)
	if err != nil {
		return reading{}, clients.GateError(Vendor, op, "the login", err)
	}
	verdict := tokens.Inconclusive
	// Reported exactly once, also when something panics in between or the task's
	// own time is up.
	defer func() {
		pass.Report(context.WithoutCancel(ctx), verdict)
	}()

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
		got.err.Err = &tokens.RefusedError{
			Profile: profileOTP,
			Reason:  "the login was refused",
		}
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
	req, err := http.NewRequestWithContext(
		context.Background(),
		http.MethodPost,
		c.base.Join(path),
		bytes.NewReader(bytes.TrimSpace(body.Bytes())),
	)
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(c.login, c.password.Reveal())
	return req, nil
}
