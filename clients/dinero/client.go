package dinero

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// Account is what the calls of one organization need.
type Account struct {
	// Source gives its tokens.
	Source tokens.Source
	// Gate rests while the organization has no subscription.
	Gate tokens.Gate
	// Limit keeps its calls within its quota; nil for as many as there are.
	Limit clients.Limiter
}

// Client calls the API for the organizations that have a key. It is safe for
// concurrent use. Its errors are *clients.Error.
type Client struct {
	api      clients.BaseURL
	accounts func(organization string) (Account, bool)
	caller   *clients.Caller
	now      func() time.Time
}

// New makes a Client. accounts gives what an organization's calls need, false if
// it has no key here. Its error names every variable of cfg that is wrong.
func New(
	cfg Config,
	accounts func(organization string) (Account, bool),
	caller *clients.Caller,
) (*Client, error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if accounts == nil || caller == nil {
		return nil, errors.New("dinero: accounts and a caller are needed")
	}
	return &Client{
		api:      checked.api,
		accounts: accounts,
		caller:   caller,
		now:      time.Now,
	}, nil
}

// account finds an organization's. One without a key here may have one on
// another worker, for which the task waits.
func (c *Client) account(op, organization string) (Account, error) {
	if !IsOrganization(organization) {
		return Account{}, unsendable(op, "the organization id must be digits")
	}
	account, known := c.accounts(organization)
	if !known {
		return Account{}, &clients.Error{
			Vendor:  Vendor,
			Op:      op,
			Kind:    clients.Credentials,
			NotSent: true,
			Message: "this worker has no API key for the organization",
		}
	}
	return account, nil
}

// Request is a free call for one organization.
type Request struct {
	Organization string
	// Method is GET, HEAD, POST, PUT, PATCH or DELETE.
	Method string
	// Version of the endpoint: v1 (also if it is ""), v2, v1.2.
	Version string
	// Path lies below {version}/{organization}/ and is written as in a URL.
	Path  string
	Query url.Values
	// Body is JSON, nil for none.
	Body json.RawMessage
}

// Answer is what the vendor answered, as it came. It may hold prose and
// personal data, so it belongs into a result and not into a log.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Body is the vendor's JSON; nil if there is none, or none that is whole.
	Body json.RawMessage
}

// Methods are the methods of a free call.
var Methods = []string{
	http.MethodGet,
	http.MethodHead,
	http.MethodPost,
	http.MethodPut,
	http.MethodPatch,
	http.MethodDelete,
}

// Call makes one free call. Whether an Unknown may be repeated is the caller's
// to know. A DELETE of what is not there is a success. The Answer is there also
// beside an error, if the vendor gave one.
func (c *Client) Call(ctx context.Context, r Request) (Answer, error) {
	if !slices.Contains(Methods, r.Method) {
		return Answer{}, unsendable(
			OpCall,
			"the method is none of GET, HEAD, POST, PUT, PATCH and DELETE",
		)
	}
	if r.Body != nil && !json.Valid(r.Body) {
		return Answer{}, unsendable(OpCall, "the body is not JSON")
	}
	target, err := c.below(r.Version, r.Organization, r.Path)
	if err != nil {
		return Answer{}, unsendable(OpCall, err.Error())
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	got, err := c.exchange(ctx, outgoing{
		op:           OpCall,
		organization: r.Organization,
		method:       r.Method,
		url:          target,
		body:         r.Body,
	})
	if got == nil {
		return Answer{}, err
	}
	answer, why := answerOf(r.Method, got)
	if err == nil && why != "" && got.Status <= 299 {
		err = clients.UnreadableError(Vendor, OpCall, got, why)
	}
	return answer, err
}

// below is the URL of a path of one organization.
func (c *Client) below(version, organization, path string) (string, error) {
	if version == "" {
		version = "v1"
	}
	switch {
	case !IsVersion(version):
		return "", errors.New("the version must be written v1, v2 or v1.2")
	case !IsOrganization(organization):
		return "", errors.New("the organization id must be digits")
	}
	if err := CheckPath(path); err != nil {
		return "", errors.New("the path " + err.Error())
	}
	target, err := c.api.ResolveWithin(
		version + "/" + organization + "/" + strings.TrimPrefix(path, "/"),
	)
	if err != nil {
		return "", errors.New("the path " + err.Error())
	}
	return target, nil
}

// IsVersion reports whether version can stand in a path: v1, v2, v1.2.
func IsVersion(version string) bool {
	digits, v := strings.CutPrefix(version, "v")
	major, minor, dotted := strings.Cut(digits, ".")
	isNumber := func(s string) bool {
		return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
	}
	return v && isNumber(major) && (!dotted || isNumber(minor))
}

// CheckPath tells what is wrong with the path of a free call; nil if it lies
// below {version}/{organization}/. It is the same for every base.
func CheckPath(path string) error {
	base, err := clients.ParseBaseURL("DINERO_API_URL", DefaultAPIURL, false)
	if err != nil {
		return err
	}
	_, err = base.ResolveWithin(path)
	return err
}

// answerOf keeps the vendor's JSON beside success and failure alike. why says
// what is wrong with a body that should be there: the status page promises
// content for reads only, a write may be answered without any.
func answerOf(method string, a *clients.Answer) (answer Answer, why string) {
	answer.Status = a.Status
	body := bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf")))
	switch {
	case a.Incomplete:
		return answer, "it broke off or is too large"
	case len(body) == 0 && method == http.MethodGet:
		return answer, "it is empty"
	case len(body) == 0:
		return answer, ""
	case body[0] == '<':
		return answer, "it is a web page"
	case !json.Valid(body):
		return answer, "it is not JSON"
	case string(body) == "null":
		return answer, "it is null"
	}
	answer.Body = body
	return answer, ""
}
