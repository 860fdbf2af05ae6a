package dckap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// Call is one call of a dynamic pipe.
type Call struct {
	// Listener is the id of the pipe's listener, or the URL copied from the pipe
	// if it lies below the account's base URL.
	Listener string
	// Method is GET, POST (also if it is ""), PUT, PATCH or DELETE.
	Method string
	Query  url.Values
	// Body is JSON, nil for none.
	Body json.RawMessage
	// Idempotent, if not nil, overrules what the pipes file says.
	Idempotent *bool
}

// Client calls the pipes of one account. It is safe for concurrent use. Its
// errors are *clients.Error.
type Client struct {
	cfg    Config
	base   clients.BaseURL
	pipes  map[string]Pipe
	gate   tokens.Gate
	gates  func(listener string) tokens.Gate
	caller *clients.Caller
}

// New makes a Client. gate guards the account's credential; gates gives the gate
// of a pipe, which rests while the pipe is disabled. Its error names every
// variable of cfg that is wrong.
func New(
	cfg Config,
	gate tokens.Gate,
	gates func(listener string) tokens.Gate,
	caller *clients.Caller,
) (*Client, error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if gate == nil || gates == nil || caller == nil {
		return nil, errors.New("dckap: a gate, the pipes' gates and a caller are needed")
	}
	return &Client{
		cfg:    cfg,
		base:   checked.base,
		pipes:  checked.pipes,
		gate:   gate,
		gates:  gates,
		caller: caller,
	}, nil
}

// Methods are the methods of a call. HEAD is none of them: a pipe's answer lies
// in its body.
var Methods = []string{
	http.MethodGet,
	http.MethodPost,
	http.MethodPut,
	http.MethodPatch,
	http.MethodDelete,
}

// Call calls a pipe once. The Answer is there also beside an error, if the pipe
// gave one. Where the pipes file calls the pipe idempotent, whatever may have
// happened, or failed, is Temporary.
func (c *Client) Call(ctx context.Context, call Call) (Answer, error) {
	id, target, err := c.target(call)
	if err != nil {
		return Answer{}, unsendable(err.Error())
	}
	req, err := c.request(call, target)
	if err != nil {
		return Answer{}, unsendable(err.Error())
	}
	pipe := c.pipes[id]
	answer, err := c.send(ctx, id, pipe, req)
	if e, ok := clients.AsError(err); ok && pipe.Idempotent && call.Idempotent == nil &&
		(e.Kind == clients.Unknown || e.Kind == clients.Failed) {
		e.Kind = clients.Temporary
	}
	return answer, err
}

// target finds out which listener is meant, and its URL.
func (c *Client) target(call Call) (id, target string, err error) {
	if id, err = listenerID(c.base, call.Listener); err != nil {
		return "", "", errors.New("listener " + err.Error())
	}
	if target, err = c.base.ResolveWithin(id); err != nil {
		return "", "", errors.New("listener " + err.Error())
	}
	query := url.Values{}
	for name, values := range call.Query {
		if CredentialName(name) {
			return "", "", errors.New(
				"the query must not carry a credential; it is in the settings",
			)
		}
		query[name] = values
	}
	switch c.cfg.auth() {
	case Query:
		query.Set("access_token", c.cfg.Token.Reveal())
	case JWTQuery:
		query.Set("token", c.cfg.Token.Reveal())
	}
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
		return nil, errors.New("the method is none of GET, POST, PUT, PATCH and DELETE")
	}
	if call.Body != nil && (method == http.MethodGet || !json.Valid(call.Body)) {
		return nil, errors.New("the body is not JSON, or the method takes none")
	}
	// The context is the Caller's to set.
	req, err := http.NewRequestWithContext(context.Background(), method, target, nil)
	if call.Body != nil && err == nil {
		req, err = http.NewRequestWithContext(
			context.Background(),
			method,
			target,
			bytes.NewReader(call.Body),
		)
	}
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	if call.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	switch c.cfg.auth() {
	case Bearer:
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token.Reveal())
	case Header:
		// Spelt as the vendor's page has it, not as Access_token.
		req.Header["access_token"] = []string{c.cfg.Token.Reveal()}
	case Basic:
		req.SetBasicAuth(c.cfg.Username, c.cfg.Password.Reveal())
	}
	return req, nil
}

// unsendable is an error about a request that can never be sent.
func unsendable(message string) *clients.Error {
	return &clients.Error{
		Vendor:  Vendor,
		Op:      OpCall,
		Kind:    clients.Invalid,
		Message: message,
		NotSent: true,
	}
}
