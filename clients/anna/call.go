package anna

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// endpoint is the vendor's API below one base URL.
type endpoint struct {
	base   clients.BaseURL
	caller *clients.Caller
}

// post sends body as JSON to path, once. token is empty for the login only.
func (e endpoint) post(ctx context.Context, op, path string, token secret.String, body any) (*clients.Answer, error) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // the bytes of the vendor's own samples
	if err := encoder.Encode(body); err != nil {
		return nil, e.invalid(op, "the request cannot be encoded")
	}
	payload := bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base.Join(path), bytes.NewReader(payload))
	if err != nil {
		return nil, e.invalid(op, "the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if !token.Empty() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return e.caller.Do(ctx, op, req)
}

// invalid is an error about a request that can never be sent.
func (e endpoint) invalid(op, message string) *clients.Error {
	return &clients.Error{Vendor: e.caller.Vendor(), Op: op, Kind: clients.Invalid, Message: message, NotSent: true}
}

// exchange makes one call: with the shared token, and once more with a fresh
// one if the answer says, or may hide, that the token is no longer good.
//
//	first answer       the Source is asked   what counts
//	401, 403           Reject                the second answer, if it says replay
//	2xx success:false  Suspect               the second answer, if it says replay
//	anything else      nothing               the first answer
//
// settled, if not nil, tells a success:false that is as good as success:true.
func (c *Client) exchange(ctx context.Context, r rule, body any, settled func(reply) bool) (reply, error) {
	token, err := c.source.Get(ctx)
	if err != nil {
		return reply{}, c.tokenError(r.op, err, true)
	}
	answer, err := c.post(ctx, r.op, r.path, token.Value, body)
	if err != nil {
		return reply{}, err
	}
	if !c.wantsReplay(ctx, answer, token, settled) {
		return c.judge(r, answer, settled)
	}
	token, err = c.source.Get(ctx)
	if err != nil {
		return reply{}, c.tokenError(r.op, err, false)
	}
	answer, err = c.post(ctx, r.op, r.path, token.Value, body)
	if err != nil {
		if e, ok := clients.AsError(err); ok {
			e.NotSent = false // the first request did reach the vendor
		}
		return reply{}, err
	}
	if unauthorized(answer) {
		// A fresh token was refused too, so the fault is not the token's: tell the
		// Source, which keeps the fleet from logging in over and over.
		c.source.Reject(ctx, token)
	}
	return c.judge(r, answer, settled)
}

// unauthorized: a 403 counts like a 401, because some gateways send it for an
// expired token.
func unauthorized(a *clients.Answer) bool {
	return a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
}

// wantsReplay tells the Source what the first answer says about the token, and
// reports whether the call is worth one replay.
func (c *Client) wantsReplay(ctx context.Context, a *clients.Answer, t tokens.Token, settled func(reply) bool) bool {
	if unauthorized(a) {
		return c.source.Reject(ctx, t)
	}
	body, seen, _ := look(a)
	if seen != sawRefusal || (settled != nil && settled(body)) {
		return false
	}
	return c.source.Suspect(ctx, t)
}
