package dinero

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// Account holds what the calls of one organization need.
type Account struct {
	// Source provides the organization's tokens.
	Source tokens.Source
	// Breaker is open while the organization has no subscription.
	Breaker admission.Gate
	// Admitter admits the organization's calls; nil admits all.
	Admitter clients.Admitter
}

// Client calls the API for the organizations that have a key. It is safe for
// concurrent use. Its errors are *clients.Error.
type Client struct {
	api      clients.BaseURL
	accounts func(organization string) (Account, bool)
	caller   *clients.Caller
	now      func() time.Time
}

// New returns a Client. accounts returns the account of an organization, false if
// this worker has no key for it. The error names every invalid variable of cfg.
func New(
	cfg Config,
	accounts func(organization string) (Account, bool),
	caller *clients.Caller,
) (*Client, error) {
	validated, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	if accounts == nil || caller == nil {
		return nil, errors.New("dinero: accounts and a caller are required")
	}
	return &Client{
		api:      validated.api,
		accounts: accounts,
		caller:   caller,
		now:      time.Now,
	}, nil
}

// Call makes one call. Whether an Unknown may be repeated is the caller's
// decision. Deleting a record that does not exist succeeds. If the vendor
// answered, the Reply is set even beside an error.
func (c *Client) Call(ctx context.Context, r Request) (clients.Reply, error) {
	if !slices.Contains(Methods, r.Method) {
		return clients.Reply{}, clients.InvalidRequest(
			Vendor,
			OpCall,
			"the method must be GET, HEAD, POST, PUT, PATCH or DELETE",
		)
	}
	if r.Body != nil && !json.Valid(r.Body) {
		return clients.Reply{}, clients.InvalidRequest(Vendor, OpCall, "the body is not JSON")
	}
	target, err := c.resolve(r.Version, r.Organization, r.Path)
	if err != nil {
		return clients.Reply{}, clients.InvalidRequest(Vendor, OpCall, err.Error())
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	answer, err := c.do(ctx, apiRequest{
		op:           OpCall,
		organization: r.Organization,
		method:       r.Method,
		url:          target,
		body:         r.Body,
	})
	if answer == nil {
		return clients.Reply{}, err
	}
	return reply(r.Method, answer, err)
}

// reply returns the vendor's JSON, of a success and of a failure alike. A success
// whose body is missing or unreadable becomes an error. The vendor promises
// content for reads only; a write may be answered without any.
func reply(method string, a *clients.Answer, err error) (clients.Reply, error) {
	body, unreadable := clients.JSONBody(a)
	if errors.Is(unreadable, clients.ErrEmptyBody) && method != http.MethodGet {
		unreadable = nil
	}
	if err == nil && unreadable != nil && a.Status <= 299 {
		err = clients.UnreadableError(Vendor, OpCall, a, unreadable.Error())
	}
	return clients.Reply{Status: a.Status, Body: body}, err
}

// resolve returns the URL of an organization's path.
func (c *Client) resolve(version, organization, path string) (string, error) {
	if version == "" {
		version = "v1"
	}
	switch {
	case !IsVersion(version):
		return "", errors.New("the version must be written v1, v2 or v1.2")
	case !validOrganization(organization):
		return "", errors.New("the organization id must be digits")
	}
	if err := clients.CheckPath(path); err != nil {
		return "", errors.New("the path " + err.Error())
	}
	target, err := c.api.ResolveWithin(version + "/" + organization + "/" + strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", errors.New("the path " + err.Error())
	}
	return target, nil
}

// account returns the account of an organization. If this worker has no key for
// it, another worker may have one, so the error parks the task.
func (c *Client) account(op, organization string) (Account, error) {
	if !validOrganization(organization) {
		return Account{}, clients.InvalidRequest(Vendor, op, "the organization id must be digits")
	}
	account, known := c.accounts(organization)
	if !known {
		return Account{}, clients.BlockedError(Vendor, op, &admission.Blocked{
			Key:    "worker",
			Reason: "this worker has no API key for the organization",
		})
	}
	return account, nil
}

// apiRequest is one HTTP request without its token.
type apiRequest struct {
	op           string
	organization string
	method       string
	url          string
	body         []byte // nil for none
}

// do sends a request with the organization's token once its breaker and its limits
// permit it, and replays it at most once with a fresh token. The error is nil if
// the status means success. If the vendor answered, the answer is set even beside
// an error.
func (c *Client) do(ctx context.Context, r apiRequest) (*clients.Answer, error) {
	account, err := c.account(r.op, r.organization)
	if err != nil {
		return nil, err
	}
	permit, err := account.Breaker.Acquire(ctx)
	if err != nil {
		return nil, clients.BlockedError(Vendor, r.op, err)
	}
	verdict := admission.Inconclusive
	// A permit must be reported exactly once, even after a panic or once the
	// task's time is over.
	defer func() {
		permit.Done(context.WithoutCancel(ctx), admission.Result{Verdict: verdict})
	}()

	build := func(token secret.String) (*http.Request, error) {
		return r.build(ctx, token)
	}
	bearer := clients.Bearer{Source: account.Source}
	caller := c.caller.AdmittedBy(account.Admitter)
	answer, err := bearer.Do(ctx, caller, r.op, build)
	if err != nil {
		return nil, err
	}
	verdict, err = interpret(r, answer)
	if verdict == admission.Refused { // the organization's credential or subscription is
		caller.ReportRefusal(ctx, nil)
		return answer, err
	}
	caller.ReportRefusal(ctx, err)
	return answer, err
}

func (r apiRequest) build(ctx context.Context, token secret.String) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, clients.InvalidRequest(Vendor, r.op, "the request cannot be built")
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return req, nil
}
