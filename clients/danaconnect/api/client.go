// Package api calls DANAConnect's API 2.0, with the conversations in it:
// https://dev.danaconnect.com/developer-portal
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// Client calls API 2.0 with the fleet's shared token. It is safe for concurrent
// use. Its errors are *clients.Error.
type Client struct {
	base   clients.BaseURL
	bearer clients.Bearer
	caller *clients.Caller
}

// New returns the client of one account. An invalid cfg is refused with an error
// that names every invalid variable.
func New(cfg Config, src tokens.Source, caller *clients.Caller) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := cfg.apiURL()
	if err != nil {
		return nil, err
	}
	if src == nil || caller == nil {
		return nil, errors.New("danaconnect: a token source and a caller are needed")
	}
	return &Client{
		base:   base,
		bearer: clients.Bearer{Source: src, Denied: denied},
		caller: caller,
	}, nil
}

// StartConversation starts a conversation. A nil error means that the vendor
// accepted it, Failed that the vendor refused it. Starting twice sends twice, so
// Unknown must not be retried blindly. The Answer is also set beside an error if
// the vendor gave one.
func (c *Client) StartConversation(ctx context.Context, s Start) (clients.Reply, error) {
	path, err := s.path()
	if err != nil {
		return clients.Reply{}, invalid(OpStart, err.Error())
	}
	if len(s.Data) == 0 {
		return clients.Reply{}, invalid(OpStart, "no data")
	}
	body, err := clients.EncodeJSON(s.Data)
	if err != nil {
		return clients.Reply{}, invalid(OpStart, "the data cannot be written as JSON")
	}
	answer, err := c.do(ctx, OpStart, c.base.Join(path), Request{
		Method: http.MethodPost,
		Body:   body,
	})
	if err != nil {
		return clients.Reply{}, err
	}
	err = readResult(answer).Err(OpStart, answer)
	c.caller.ReportRefusal(ctx, err)
	return answer.Reply(), err
}

var methods = []string{
	http.MethodGet,
	http.MethodHead,
	http.MethodPost,
	http.MethodPut,
	http.MethodPatch,
	http.MethodDelete,
}

// Call makes one free call. Only its caller knows whether an Unknown may be
// retried. The Answer is also set beside an error if the vendor gave one.
func (c *Client) Call(ctx context.Context, r Request) (clients.Reply, error) {
	target, err := c.target(r)
	if err != nil {
		return clients.Reply{}, invalid(OpCall, err.Error())
	}
	answer, err := c.do(ctx, OpCall, target, r)
	if err != nil {
		return clients.Reply{}, err
	}
	err = readContent(r.Method, answer).Err(OpCall, answer)
	c.caller.ReportRefusal(ctx, err)
	return answer.Reply(), err
}

// target checks r and returns its URL. Its error quotes nothing of r.
func (c *Client) target(r Request) (string, error) {
	if !slices.Contains(methods, r.Method) {
		return "", errors.New("the method is none of GET, HEAD, POST, PUT, PATCH and DELETE")
	}
	target, err := c.base.ResolveWithin(r.Path)
	if err != nil {
		return "", fmt.Errorf("the path %w", err)
	}
	if r.Body != nil && !json.Valid(r.Body) {
		return "", errors.New("the body is not JSON")
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	return target, nil
}

// do sends r, whose URL is target, with the shared token.
func (c *Client) do(ctx context.Context, op, target string, r Request) (*clients.Answer, error) {
	return c.bearer.Do(ctx, c.caller, op, func(token secret.String) (*http.Request, error) {
		var content io.Reader
		if r.Body != nil {
			content = bytes.NewReader(r.Body)
		}
		req, err := http.NewRequestWithContext(ctx, r.Method, target, content)
		if err != nil {
			return nil, invalid(op, "the request cannot be built")
		}
		// The vendor's sample sends the content type without a body, too.
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		return req, nil
	})
}

func invalid(op, message string) *clients.Error {
	return clients.InvalidRequest(danaconnect.Vendor, op, message)
}
