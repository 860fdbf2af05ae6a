// Package contacts loads contacts in bulk into DANAConnect's Contact Manager:
// https://dev.danaconnect.com/openapi/contactbulkupload-reference
package contacts

import (
	"bytes"
	"context"
	"net/http"
	"net/url"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
)

// Client loads contacts with the login of API 1.0. It is safe for concurrent
// use. Its errors are *clients.Error.
type Client struct {
	base   clients.BaseURL
	caller *danaconnect.BasicCaller
}

// New returns the client of one account. gate guards the account's password, and
// otp.New takes the same one; caller carries the requests. An invalid cfg is
// refused with an error that names every invalid variable.
func New(cfg danaconnect.BasicConfig, gate admission.Gate, caller *clients.Caller) (*Client, error) {
	basic, err := danaconnect.NewBasicCaller(cfg, gate, caller)
	if err != nil {
		return nil, err
	}
	base, err := cfg.ContactsBase()
	if err != nil {
		return nil, err
	}
	return &Client{
		base:   base,
		caller: basic,
	}, nil
}

// Load hands rows over. A nil error means that the vendor accepted the file, not
// that it was loaded: that happens later, and the vendor reports it on its
// platform. Loading twice may insert twice, so Unknown must not be retried
// blindly. The Answer is also set beside an error if the vendor gave one.
func (c *Client) Load(ctx context.Context, l Load) (clients.Reply, error) {
	req, err := c.request(ctx, l)
	if err != nil {
		return clients.Reply{}, err
	}
	var answer clients.Reply
	err = c.caller.Do(ctx, OpLoad, req, func(a *clients.Answer) (admission.Verdict, error) {
		answer = a.Reply()
		got := read(a)
		return loginVerdict(a.Status, got.Signal), got.Err(OpLoad, a)
	})
	return answer, err
}

// request builds the request. Its errors quote nothing of the load.
func (c *Client) request(ctx context.Context, l Load) (*http.Request, error) {
	if err := l.check(); err != nil {
		return nil, clients.InvalidRequest(danaconnect.Vendor, OpLoad, err.Error())
	}
	target, err := c.base.ResolveWithin("rest/webdb/table/" + url.PathEscape(l.TableCode))
	if err != nil {
		return nil, clients.InvalidRequest(danaconnect.Vendor, OpLoad, "tableCode "+err.Error())
	}
	body, contentType, err := l.form()
	if err != nil {
		return nil, clients.InvalidRequest(danaconnect.Vendor, OpLoad, "the form cannot be written")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, clients.InvalidRequest(danaconnect.Vendor, OpLoad, "the request cannot be built")
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	return req, nil
}
