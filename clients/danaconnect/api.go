package danaconnect

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
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// APIClient calls API 2.0 with the fleet's shared token. It is safe for
// concurrent use. Its errors are *clients.Error.
type APIClient struct {
	base   clients.BaseURL
	source tokens.Source
	caller *clients.Caller
}

// NewAPI makes the client of one account. Its error names every variable of cfg
// that is wrong.
func NewAPI(
	cfg APIConfig,
	src tokens.Source,
	caller *clients.Caller,
) (*APIClient, error) {
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
	return &APIClient{
		base:   base,
		source: src,
		caller: caller,
	}, nil
}

// Start starts a conversation for one contact.
type Start struct {
	// IDConversation is the id of the conversation's activation; activating it
	// again gives a new one. IDProject is the project's, which stays. One of the
	// two is given, in digits.
	IDConversation, IDProject string
	// Data are the contact's fields, by field code.
	Data map[string]any
}

// StartConversation starts a conversation. nil means that the vendor accepted
// it; Failed that it says it did not. Starting twice sends twice, so Unknown
// must not be retried blindly. The Answer is there also beside an error, if the
// vendor gave one.
func (c *APIClient) StartConversation(ctx context.Context, s Start) (Answer, error) {
	path, id := "rest/conversation/", s.IDConversation
	if id == "" {
		path = "rest/conversation/ProjectID/"
		id = s.IDProject
	}
	switch {
	case (s.IDConversation == "") == (s.IDProject == ""):
		return Answer{}, unsendable(
			OpStart,
			"one of idConversation and idProject is needed",
		)
	case !isID(id):
		return Answer{}, unsendable(OpStart, "the id must be a whole number above 0")
	case len(s.Data) == 0:
		return Answer{}, unsendable(OpStart, "no data")
	}
	body, err := encode(s.Data)
	if err != nil {
		return Answer{}, unsendable(OpStart, "the data cannot be written as JSON")
	}
	answer, err := c.do(
		ctx,
		OpStart,
		http.MethodPost,
		c.base.Join(path+id+"/start/data"),
		body,
		true,
	)
	if err != nil {
		return Answer{}, err
	}
	return answerOf(answer), judge(OpStart, answer, readResult(answer))
}

// Request is a free call of API 2.0.
type Request struct {
	// Method is GET, HEAD, POST, PUT, PATCH or DELETE.
	Method string
	// Path lies below the base URL and is written as in a URL.
	Path  string
	Query url.Values
	// Body is JSON, nil for none.
	Body json.RawMessage
	// Once: not even a GET or HEAD may be sent again by net/http.
	Once bool
}

var methods = []string{
	http.MethodGet,
	http.MethodHead,
	http.MethodPost,
	http.MethodPut,
	http.MethodPatch,
	http.MethodDelete,
}

// Call makes one free call. Whether an Unknown may be retried is the caller's to
// know. The Answer is there also beside an error, if the vendor gave one.
func (c *APIClient) Call(ctx context.Context, r Request) (Answer, error) {
	if !slices.Contains(methods, r.Method) {
		return Answer{}, unsendable(
			OpCall,
			"the method is none of GET, HEAD, POST, PUT, PATCH and DELETE",
		)
	}
	target, err := c.base.ResolveWithin(r.Path)
	if err != nil {
		return Answer{}, unsendable(OpCall, "the path "+err.Error())
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	if r.Body != nil && !json.Valid(r.Body) {
		return Answer{}, unsendable(OpCall, "the body is not JSON")
	}
	answer, err := c.do(ctx, OpCall, r.Method, target, r.Body, r.Once)
	if err != nil {
		return Answer{}, err
	}
	return answerOf(answer), judge(OpCall, answer, readContent(r.Method, answer))
}

// CheckPath tells what is wrong with the path of a free call; nil if it lies
// below the base URL. It is the same for every base.
func CheckPath(path string) error {
	base, err := clients.ParseBaseURL("DANACONNECT_API_URL", DefaultAPIURL, false)
	if err != nil {
		return err
	}
	_, err = base.ResolveWithin(path)
	return err
}

// do makes one call with the shared token.
func (c *APIClient) do(
	ctx context.Context,
	op, method, target string,
	body []byte,
	once bool,
) (*clients.Answer, error) {
	bearer := clients.Bearer{Source: c.source, Denied: denied}
	return bearer.Do(ctx, c.caller, op, func(token secret.String) (*http.Request, error) {
		var content io.Reader
		if body != nil {
			content = bytes.NewReader(body)
		}
		req, err := http.NewRequestWithContext(ctx, method, target, content)
		if err != nil {
			return nil, unsendable(op, "the request cannot be built")
		}
		if once {
			clients.DisableTransportRetry(req)
		}
		req.Header.Set(
			"Content-Type",
			"application/json",
		) // also without a body, as the vendor's sample
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		return req, nil
	})
}

// encode writes JSON as the vendor's samples have it: "Tom & Co" as it is.
func encode(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errors.New("the request cannot be written as JSON")
	}
	return bytes.TrimSpace(body.Bytes()), nil
}
