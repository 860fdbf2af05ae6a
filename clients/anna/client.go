// Package anna calls AnnA's Corporate User API, version 3.
//
// The vendor's page: https://docs.anna.center/anna-services/corporate-user/generate-hash
//
// A Login fetches tokens, a tokens.Source shares them across the fleet, and a
// Client makes calls with them. The page hardly describes failures, so this
// package is careful where the page is silent:
//
//   - An answer is a success only if its success field is the JSON boolean true
//     and the promised field is present (rules.go, answer.go).
//   - A success:false may hide an expired token, so it can trigger one replay
//     with a fresh token (Client.do).
//   - A time without a zone is read in every plausible way, and the earliest
//     reading counts (auth.go).
//   - The vendor's message is never repeated, and interpreted only by the texts of
//     ANNA_ALREADY_INACTIVE: it is translated prose that contains the company hash
//     and the user.
package anna

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// Client calls AnnA with the token shared by the fleet. It is safe for
// concurrent use. Its errors are *clients.Error.
type Client struct {
	endpoint
	source          tokens.Source
	companyHash     string
	zone            *time.Location
	alreadyInactive []string // lower case
	now             func() time.Time
}

// New returns a Client. Its error names every invalid variable of cfg.
func New(cfg Config, src tokens.Source, caller *clients.Caller) (*Client, error) {
	valid, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	if src == nil || caller == nil {
		return nil, errors.New("anna: a token source and a caller are required")
	}
	return &Client{
		endpoint:        endpoint{base: valid.base, caller: caller},
		source:          src,
		companyHash:     cfg.CompanyHash.Reveal(),
		zone:            valid.zone,
		alreadyInactive: valid.alreadyInactive,
		now:             time.Now,
	}, nil
}

// UserHash creates a login for userID, who must be active; for an inactive user
// the error is Declined. startService, which may be empty, is where the chat
// opens. Every call creates another login, so UserHash is not a way to find out
// whether a user is active.
func (c *Client) UserHash(ctx context.Context, userID, startService string) (AccessData, error) {
	if userID == "" {
		return AccessData{}, c.invalid(userHash.name, "no user ID")
	}
	return call(ctx, c, userHash, c.accessData, hashRequest{
		Hash:         c.companyHash,
		UserID:       userID,
		StartService: startService,
	})
}

// UserHashForced creates the user, or renames an existing one, and creates a
// login. It opens access: a call that runs late may reactivate a user who has
// left in the meantime, so an Unknown must not be retried blindly.
func (c *Client) UserHashForced(ctx context.Context, userID, userName, startService string) (AccessData, error) {
	if userID == "" || userName == "" {
		return AccessData{}, c.invalid(userHashForced.name, "no user ID or no user name")
	}
	return call(ctx, c, userHashForced, c.accessData, forcedHashRequest{
		Hash:         c.companyHash,
		UserID:       userID,
		UserName:     userName,
		StartService: startService,
	})
}

// Inactivate closes userID's access. A nil error means that the vendor confirmed
// it. Temporary with a long RetryAfter means that the vendor answered without
// confirming it; a refusal cannot be told from "already inactive", so the error
// is never Declined.
func (c *Client) Inactivate(ctx context.Context, userID string) error {
	if userID == "" {
		return c.invalid(userInactivate.name, "no user ID")
	}
	body := inactivateRequest{Hash: c.companyHash, UserID: userID}
	_, err := c.do(ctx, userInactivate, body, c.saysAlreadyInactive)
	return err
}

// AlertCounter counts the open requests that wait for the user's answer. A count
// is always one that the vendor stated, never a zero in place of a failure.
// Relative dates such as today-7d are resolved in ANNA_TIME_ZONE when the call
// is made.
func (c *Client) AlertCounter(ctx context.Context, u User, f Filters) (int, error) {
	body, err := c.messengerRequest(messengerAlerts, u, f)
	if err != nil {
		return 0, err
	}
	return call(ctx, c, messengerAlerts, alertCounter, body)
}

// Requests returns the user's requests as the vendor sent them, a JSON array.
// Its filters are those of AlertCounter.
func (c *Client) Requests(ctx context.Context, u User, f Filters) (json.RawMessage, error) {
	body, err := c.messengerRequest(messengerRequests, u, f)
	if err != nil {
		return nil, err
	}
	return call(ctx, c, messengerRequests, requestList, body)
}

// Structure returns the company's departments and channels as the vendor sent
// them, a JSON object.
func (c *Client) Structure(ctx context.Context) (json.RawMessage, error) {
	return call(ctx, c, messengerStructure, structure, structureRequest{Hash: c.companyHash})
}

// Link returns the address under which the user's requests can be read.
func (c *Client) Link(ctx context.Context, u User) (Link, error) {
	if !u.complete() {
		return Link{}, c.invalid(messengerLink.name, incompleteUser)
	}
	return call(ctx, c, messengerLink, link, linkRequest{Hash: c.companyHash, userFields: userFields(u)})
}

const incompleteUser = "neither a user ID nor a document type and value"

func (c *Client) messengerRequest(op operation, u User, f Filters) (messengerRequest, error) {
	if !u.complete() {
		return messengerRequest{}, c.invalid(op.name, incompleteUser)
	}
	f, ok := f.resolveDates(c.now().In(c.zone))
	if !ok {
		return messengerRequest{}, c.invalid(op.name, "a filter's date is neither DD/MM/YYYY nor today or today-7d")
	}
	return messengerRequest{
		Hash:       c.companyHash,
		userFields: userFields(u),
		Filters:    filterFields(f),
	}, nil
}

// call makes a call whose answer promises a field. read returns the field, and
// false if it is missing or of another type.
func call[T any](ctx context.Context, c *Client, op operation, read func(reply) (T, bool), body any) (T, error) {
	var zero T
	answer, err := c.do(ctx, op, body, nil)
	if err != nil {
		return zero, err
	}
	value, ok := read(answer)
	if !ok {
		return zero, c.answerError(op.name, answer.status, op.incomplete)
	}
	return value, nil
}

// do makes one call with the shared token, and replays it once with a fresh
// token if the answer says, or may hide, that the token has expired; see
// clients.Bearer. A success:false may hide it, because the vendor's page knows
// no 401.
//
// alreadyDone, if not nil, reports whether a success:false is as good as
// success:true.
func (c *Client) do(ctx context.Context, op operation, body any, alreadyDone func(reply) bool) (reply, error) {
	bearer := clients.Bearer{
		Source: c.source,
		Denied: unauthorized,
		Suspicious: func(a *clients.Answer) bool {
			r, seen, _ := classify(a)
			return seen == Refused && (alreadyDone == nil || !alreadyDone(r))
		},
	}
	build := func(token secret.String) (*http.Request, error) {
		return c.request(ctx, op.name, op.path, token, body)
	}
	answer, err := bearer.Do(ctx, c.caller, op.name, build)
	if err != nil {
		return reply{}, err
	}
	r, err := c.interpret(op, answer, alreadyDone)
	c.caller.ReportRefusal(ctx, err)
	return r, err
}

// unauthorized treats a 403 like a 401, because some gateways send it for an
// expired token.
func unauthorized(a *clients.Answer) bool {
	return a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
}

// endpoint is the vendor's API below one base URL.
type endpoint struct {
	base   clients.BaseURL
	caller *clients.Caller
}

// request builds a POST of body as JSON. token is empty for the login only. The
// error is a *clients.Error.
func (e endpoint) request(
	ctx context.Context,
	op, path string,
	token secret.String,
	body any,
) (*http.Request, error) {
	encoded, err := clients.EncodeJSON(body)
	if err != nil {
		return nil, e.invalid(op, "the request cannot be encoded")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base.Join(path), bytes.NewReader(encoded))
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

// invalid returns the error of a request that can never be sent.
func (e endpoint) invalid(op, message string) *clients.Error {
	return clients.InvalidRequest(e.caller.Vendor(), op, message)
}
