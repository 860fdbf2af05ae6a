package dckap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"errand.internal/internal/admission"

	"errand.internal/clients"
)

// Client calls the pipes of one account. It is safe for concurrent use. Its
// errors are *clients.Error.
type Client struct {
	cfg          Config
	base         clients.BaseURL
	pipes        map[string]Pipe // by listener id
	breaker      admission.Gate
	pipeBreakers func(listener string) admission.Gate
	caller       *clients.Caller
}

// New returns a Client. breaker guards the account's credential; pipeBreakers
// returns the breaker of one pipe, which is open while the pipe is disabled. The
// error names every invalid variable of cfg.
func New(
	cfg Config,
	breaker admission.Gate,
	pipeBreakers func(listener string) admission.Gate,
	caller *clients.Caller,
) (*Client, error) {
	validated, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	if breaker == nil || pipeBreakers == nil || caller == nil {
		return nil, errors.New("dckap: a breaker, the pipes' breakers and a caller are required")
	}
	return &Client{
		cfg:          cfg,
		base:         validated.base,
		pipes:        validated.pipes,
		breaker:      breaker,
		pipeBreakers: pipeBreakers,
		caller:       caller,
	}, nil
}

// Call calls a pipe once. If the pipe answered, the Answer is set even beside an
// error. Where the pipes file declares the pipe idempotent, Unknown and Failed
// become Temporary.
func (c *Client) Call(ctx context.Context, call Call) (Answer, error) {
	id, target, err := c.resolve(call)
	if err != nil {
		return Answer{}, clients.InvalidRequest(Vendor, OpCall, err.Error())
	}
	req, err := c.request(ctx, call, target)
	if err != nil {
		return Answer{}, clients.InvalidRequest(Vendor, OpCall, err.Error())
	}
	pipe := c.pipes[id]
	declared := pipe.Idempotent && call.Idempotent == nil
	if declared {
		ctx = clients.WithRepeatable(ctx, true)
	}
	answer, err := c.send(ctx, id, pipe, req)
	if e, ok := clients.AsError(err); ok && declared &&
		(e.Kind == clients.Unknown || e.Kind == clients.Failed) {
		e.Kind = clients.Temporary
	}
	return answer, err
}

// resolve returns the id of the listener that a call names, and the URL to call.
func (c *Client) resolve(call Call) (id, target string, err error) {
	if id, err = listenerID(c.base, call.Listener); err != nil {
		return "", "", errors.New("listener " + err.Error())
	}
	if target, err = c.base.ResolveWithin(id); err != nil {
		return "", "", errors.New("listener " + err.Error())
	}
	query := url.Values{}
	for name, values := range call.Query {
		if IsCredentialParameter(name) {
			return "", "", errors.New("the query must not carry a credential; it is in the settings")
		}
		query[name] = values
	}
	c.cfg.addToQuery(query)
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return id, target, nil
}

// request builds the HTTP request. Its errors quote nothing of the call.
func (c *Client) request(ctx context.Context, call Call, target string) (*http.Request, error) {
	method := call.Method
	if method == "" {
		method = http.MethodPost
	}
	if !slices.Contains(Methods, method) {
		return nil, errors.New("the method must be GET, POST, PUT, PATCH or DELETE")
	}
	if call.Body != nil && (method == http.MethodGet || !json.Valid(call.Body)) {
		return nil, errors.New("the body is not JSON, or the method takes none")
	}
	var body io.Reader
	if call.Body != nil {
		body = bytes.NewReader(call.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	if call.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	c.cfg.addToHeader(req)
	return req, nil
}

// send sends one request once both breakers permit it, and interprets the answer.
// The pipe's breaker comes first, so that the tasks of a disabled pipe do not
// occupy the credential.
func (c *Client) send(ctx context.Context, id string, pipe Pipe, req *http.Request) (Answer, error) {
	var rule Rule // reports no verdict until an answer matches a row
	releasePipe, err := acquire(ctx, c.pipeBreakers(id))
	if err != nil {
		return Answer{}, err
	}
	defer func() {
		releasePipe(rule.Pipe)
	}()
	releaseCredential, err := acquire(ctx, c.breaker)
	if err != nil {
		return Answer{}, err
	}
	defer func() {
		releaseCredential(rule.Credential)
	}()

	got, err := c.caller.Do(ctx, OpCall, req)
	if err != nil {
		return Answer{}, err
	}
	var refusal error // of the account
	defer func() {
		c.caller.ReportRefusal(ctx, refusal)
	}()
	body, class, unreadable := classify(got, pipe.Success)
	answer := Answer{Reply: clients.Reply{Status: got.Status, Body: body}}
	var listed bool
	rule, listed = findRule(got.Status, class)
	switch {
	case !listed:
		e := clients.StatusError(Vendor, OpCall, got)
		e.Unlisted = true
		return answer, e
	case rule.Done:
		answer.Verified = class == RuleMet
		return answer, nil
	}
	err = rule.failure(got, unreadable)
	if rule.Credential != admission.Refused && rule.Pipe != admission.Refused {
		refusal = err
	}
	return answer, err
}

// acquire gets a permit from a breaker. release must be called exactly once, even
// after a panic or once the task's time is over; it reports the verdict on what
// the breaker guards.
func acquire(
	ctx context.Context,
	breaker admission.Gate,
) (release func(admission.Verdict), err error) {
	permit, err := breaker.Acquire(ctx)
	if err != nil {
		return nil, clients.BlockedError(Vendor, OpCall, err)
	}
	return func(verdict admission.Verdict) {
		permit.Done(context.WithoutCancel(ctx), admission.Result{Verdict: verdict})
	}, nil
}
