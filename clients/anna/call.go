package anna

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// endpoint is the vendor's API below one base URL.
type endpoint struct {
	base   clients.BaseURL
	caller *clients.Caller
}

// post sends body as JSON to path, once. token is empty for the login only.
func (e endpoint) post(
	ctx context.Context,
	op, path string,
	token secret.String,
	body any,
) (*clients.Answer, error) {
	req, err := e.request(ctx, op, path, token, body)
	if err != nil {
		return nil, err
	}
	return e.caller.Do(ctx, op, req)
}

// request builds what goes out. Its error is a *clients.Error.
func (e endpoint) request(
	ctx context.Context,
	op, path string,
	token secret.String,
	body any,
) (*http.Request, error) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // the bytes of the vendor's own samples
	if err := encoder.Encode(body); err != nil {
		return nil, e.invalid(op, "the request cannot be encoded")
	}
	payload := bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))
	req, err := http.NewRequestWithContext(
		ctx,
		http.MethodPost,
		e.base.Join(path),
		bytes.NewReader(payload),
	)
	if err != nil {
		return nil, e.invalid(op, "the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if !token.Empty() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return req, nil
}

// invalid is an error about a request that can never be sent.
func (e endpoint) invalid(op, message string) *clients.Error {
	return &clients.Error{
		Vendor:  e.caller.Vendor(),
		Op:      op,
		Kind:    clients.Invalid,
		Message: message,
		NotSent: true,
	}
}

// exchange makes one call with the shared token, and once more with a fresh one
// if the answer says, or may hide, that the token is no longer good: see
// clients.Bearer. Here a success:false may hide it, because the vendor's page
// knows no 401.
//
// settled, if not nil, tells a success:false that is as good as success:true.
func (c *Client) exchange(
	ctx context.Context,
	r rule,
	body any,
	settled func(reply) bool,
) (reply, error) {
	bearer := clients.Bearer{
		Source: c.source,
		Denied: unauthorized,
		Suspicious: func(a *clients.Answer) bool {
			body, seen, _ := look(a)
			return seen == sawRefusal && (settled == nil || !settled(body))
		},
	}
	answer, err := bearer.Do(
		ctx,
		c.caller,
		r.op,
		func(token secret.String) (*http.Request, error) {
			return c.request(ctx, r.op, r.path, token, body)
		},
	)
	if err != nil {
		return reply{}, err
	}
	return c.judge(r, answer, settled)
}

// unauthorized: a 403 counts like a 401, because some gateways send it for an
// expired token.
func unauthorized(a *clients.Answer) bool {
	return a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
}
