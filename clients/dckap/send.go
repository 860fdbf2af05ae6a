package dckap

import (
	"context"
	"net/http"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// send makes one call behind both gates and reads its answer. The pipe's gate
// comes first, so that the tasks of a disabled pipe do not keep the credential
// busy.
func (c *Client) send(
	ctx context.Context,
	id string,
	pipe Pipe,
	req *http.Request,
) (Answer, error) {
	var aboutPipe, aboutCredential tokens.AuthResult
	leave, err := enter(ctx, c.gates(id), "the pipe", &aboutPipe)
	if err != nil {
		return Answer{}, err
	}
	defer leave()
	leaveCredential, err := enter(ctx, c.gate, "the credential", &aboutCredential)
	if err != nil {
		return Answer{}, err
	}
	defer leaveCredential()

	got, err := c.caller.Do(ctx, OpCall, req)
	if err != nil {
		return Answer{}, err
	}
	body, sight, why := look(got, pipe.Success)
	answer := Answer{Status: got.Status, Body: body}
	rule, listed := findRule(got.Status, sight)
	if !listed {
		e := clients.StatusError(Vendor, OpCall, got)
		e.Unlisted = true
		return answer, e
	}
	aboutPipe = rule.Pipe
	aboutCredential = rule.Credential
	if rule.Done {
		answer.Verified = sight == Verified
		return answer, nil
	}
	e := &clients.Error{
		Vendor:  Vendor,
		Op:      OpCall,
		Kind:    rule.Kind,
		Status:  got.Status,
		Message: rule.Message,
	}
	if sight == Unreadable && got.Status <= 299 {
		e.Message += ": " + why
	}
	if rule.Kind != clients.Credentials && rule.Kind != clients.Invalid {
		e.RetryAfter = clients.RetryAfter(got.Header, clients.MaxRetryAfter)
	}
	return answer, e
}

// enter passes a gate. leave reports the verdict, exactly once, also when
// something panics in between or the task's own time is up.
func enter(
	ctx context.Context,
	gate tokens.Gate,
	what string,
	verdict *tokens.AuthResult,
) (leave func(), err error) {
	pass, err := gate.Enter(ctx)
	if err != nil {
		return nil, clients.GateError(Vendor, OpCall, what, err)
	}
	return func() {
		pass.Report(context.WithoutCancel(ctx), *verdict)
	}, nil
}
