// Package api calls DANAConnect's API 2.0, with the conversations in it:
// https://dev.danaconnect.com/developer-portal
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
func (c *Client) StartConversation(ctx context.Context, s Start) (danaconnect.Answer, error) {
	path := "rest/conversation/"
	id := s.IDConversation
	if id == "" {
		path = "rest/conversation/ProjectID/"
		id = s.IDProject
	}
	switch {
	case (s.IDConversation == "") == (s.IDProject == ""):
		return danaconnect.Answer{}, danaconnect.Unsendable(
			OpStart,
			"one of idConversation and idProject is needed",
		)
	case !danaconnect.IsID(id):
		return danaconnect.Answer{}, danaconnect.Unsendable(OpStart, "the id must be a whole number above 0")
	case len(s.Data) == 0:
		return danaconnect.Answer{}, danaconnect.Unsendable(OpStart, "no data")
	}
	body, err := encode(s.Data)
	if err != nil {
		return danaconnect.Answer{}, danaconnect.Unsendable(OpStart, "the data cannot be written as JSON")
	}
	target := c.base.Join(path + id + "/start/data")
	answer, err := c.do(ctx, OpStart, target, Request{
		Method: http.MethodPost,
		Body:   body,
		Once:   true,
	})
	if err != nil {
		return danaconnect.Answer{}, err
	}
	return danaconnect.NewAnswer(answer), readResult(answer).Err(OpStart, answer)
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
func (c *Client) Call(ctx context.Context, r Request) (danaconnect.Answer, error) {
	if !slices.Contains(methods, r.Method) {
		return danaconnect.Answer{}, danaconnect.Unsendable(
			OpCall,
			"the method is none of GET, HEAD, POST, PUT, PATCH and DELETE",
		)
	}
	target, err := c.base.ResolveWithin(r.Path)
	if err != nil {
		return danaconnect.Answer{}, danaconnect.Unsendable(OpCall, "the path "+err.Error())
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	if r.Body != nil && !json.Valid(r.Body) {
		return danaconnect.Answer{}, danaconnect.Unsendable(OpCall, "the body is not JSON")
	}
	answer, err := c.do(ctx, OpCall, target, r)
	if err != nil {
		return danaconnect.Answer{}, err
	}
	return danaconnect.NewAnswer(answer), readContent(r.Method, answer).Err(OpCall, answer)
}

// CheckPath returns what is wrong with the path of a free call; nil if it lies
// below the base URL. The result is the same for every base.
func CheckPath(path string) error {
	base, err := clients.ParseBaseURL("DANACONNECT_API_URL", DefaultAPIURL, false)
	if err != nil {
		return err
	}
	_, err = base.ResolveWithin(path)
	return err
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
			return nil, danaconnect.Unsendable(op, "the request cannot be built")
		}
		if r.Once {
			clients.DisableTransportRetry(req)
		}
		// The vendor's sample sends the content type without a body, too.
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		return req, nil
	})
}

// encode writes JSON without escaping HTML, as in the vendor's samples: "Tom &
// Co" as it is.
func encode(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errors.New("the request cannot be written as JSON")
	}
	return bytes.TrimSpace(body.Bytes()), nil
}
