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

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// Client calls the pipes of one account. It is safe for concurrent use. Its
// errors are *clients.Error.
type Client struct {
	cfg          Config
	base         clients.BaseURL
	pipes        map[string]Pipe // by listener id
	breaker      tokens.Gate
	pipeBreakers func(listener string) tokens.Gate
	caller       *clients.Caller
}

// New returns a Client. breaker guards the account's credential; pipeBreakers
// returns the breaker of one pipe, which is open while the pipe is disabled. The
// error names every invalid variable of cfg.
func New(
	cfg Config,
	breaker tokens.Gate,
	pipeBreakers func(listener string) tokens.Gate,
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
	answer, err := c.send(ctx, id, pipe, req)
	if e, ok := clients.AsError(err); ok && pipe.Idempotent && call.Idempotent == nil &&
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

// CredentialName tells the names under which the vendor takes a credential in a
// query: no payload may use them.
func CredentialName(name string) bool {
	return slices.Contains(
		[]string{"access_token", "token", "jwt_token"},
		strings.ToLower(strings.TrimSpace(name)),
	)
}

// maxListener is the most characters of a listener's id.
const maxListener = 200

// CheckListener tells what is wrong with a listener as far as it can be told
// without the account's base URL.
func CheckListener(listener string) error {
	if strings.Contains(listener, "://") {
		switch {
		case strings.ContainsAny(listener, "?#"):
			return errors.New("must not contain a query or a fragment")
		case strings.ContainsAny(listener, "@\\") || strings.ContainsFunc(listener, func(r rune) bool { return r <= ' ' || r > '~' }):
			return errors.New("is not a listener's URL")
		}
		return nil
	}
	_, err := plainID(listener)
	return err
}

// listenerID is the id that names a pipe in the pipes file and in profiles, of
// an id or a copied URL.
func listenerID(base clients.BaseURL, listener string) (string, error) {
	if err := CheckListener(listener); err != nil {
		return "", err
	}
	if !strings.Contains(listener, "://") {
		return plainID(listener)
	}
	path, err := base.RelativeTo(listener)
	if err != nil {
		return "", err
	}
	return plainID(strings.TrimSuffix(path, "/"))
}

func plainID(id string) (string, error) {
	odd := func(r rune) bool {
		return !strings.ContainsRune("-._~", r) && (r < '0' || r > '9') &&
			(r < 'A' || r > 'Z') &&
			(r < 'a' || r > 'z')
	}
	switch {
	case id == "":
		return "", errors.New("is empty")
	case len(id) > maxListener:
		return "", errors.New("is too long")
	case strings.ContainsFunc(id, odd), strings.Trim(id, ".") == "":
		return "", errors.New(
			"must be a listener's id (letters, digits, - . _ ~) or its URL",
		)
	}
	return id, nil
}

// request builds what goes out. Errors quote nothing of it.
func (c *Client) request(call Call, target string) (*http.Request, error) {
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
	releasePipe, err := acquire(ctx, c.pipeBreakers(id), "the pipe")
	if err != nil {
		return Answer{}, err
	}
	defer func() {
		releasePipe(rule.Pipe)
	}()
	releaseCredential, err := acquire(ctx, c.breaker, "the credential")
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
	return answer, rule.failure(got, unreadable)
}

// acquire gets a permit from a breaker. release must be called exactly once, even
// after a panic or once the task's time is over; it reports the verdict on what
// the breaker guards.
func acquire(
	ctx context.Context,
	breaker tokens.Gate,
	guarded string,
) (release func(tokens.Verdict), err error) {
	permit, err := breaker.Enter(ctx)
	if err != nil {
		return nil, clients.GateError(Vendor, OpCall, guarded, err)
	}
	return func(verdict tokens.Verdict) {
		permit.Report(context.WithoutCancel(ctx), verdict)
	}, nil
}
