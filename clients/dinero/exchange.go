package dinero

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// outgoing is one request, before it has a token.
type outgoing struct {
	op, organization string
	method, url      string
	body             []byte // nil for none
}

// exchange makes one call behind the organization's gate and within its limits,
// with the token of the organization and at most one replay. An answer that is a success by its status
// comes with a nil error; the answer is there also beside an error, if there was
// one.
func (c *Client) exchange(ctx context.Context, out outgoing) (*clients.Answer, error) {
	account, err := c.account(out.op, out.organization)
	if err != nil {
		return nil, err
	}
	pass, err := account.Gate.Enter(ctx)
	if err != nil {
		return nil, clients.GateError(Vendor, out.op, "the organization", err)
	}
	verdict := tokens.Inconclusive
	// Reported exactly once, also when something panics in between or the task's
	// own time is up.
	defer func() {
		pass.Report(context.WithoutCancel(ctx), verdict)
	}()

	answer, err := clients.Bearer{
		Source: account.Source,
	}.Do(
		ctx,
		c.caller.Limited(account.Limit),
		out.op,
		func(token secret.String) (*http.Request, error) {
			return out.request(ctx, token)
		},
	)
	if err != nil {
		return nil, err
	}
	verdict, err = judge(out, answer)
	return answer, err
}

func (out outgoing) request(
	ctx context.Context,
	token secret.String,
) (*http.Request, error) {
	var content io.Reader
	if out.body != nil {
		content = bytes.NewReader(out.body)
	}
	req, err := http.NewRequestWithContext(ctx, out.method, out.url, content)
	if err != nil {
		return nil, unsendable(out.op, "the request cannot be built")
	}
	if out.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return req, nil
}

// judge tells what an answer means by status and code, and what it says about
// the organization. The vendor's words stay out of the error.
func judge(out outgoing, a *clients.Answer) (tokens.AuthResult, error) {
	code := codeOf(a)
	rule, listed := findRule(out.method, a.Status, code)
	switch {
	case !listed:
		e := clients.StatusError(Vendor, out.op, a)
		e.Code, e.Unlisted = code, true
		return tokens.Inconclusive, e
	case rule.Done:
		if body := bytes.TrimSpace(a.Body); a.Incomplete ||
			len(body) > 0 && body[0] == '<' {
			return tokens.Inconclusive, nil // a web page is not from the API
		}
		return rule.Organization, nil
	}
	e := &clients.Error{
		Vendor:  Vendor,
		Op:      out.op,
		Kind:    rule.Kind,
		Status:  a.Status,
		Code:    code,
		Message: rule.Message,
	}
	e.Unlisted = rule.Code == "" &&
		(a.Status == http.StatusBadRequest || a.Status == http.StatusForbidden) &&
		!slices.Contains(listedCodes, code)
	if rule.Named && code == "" {
		e.Code = strconv.Itoa(a.Status)
	}
	switch rule.Kind {
	case clients.RateLimited, clients.Temporary, clients.Unknown:
		if e.RetryAfter = clients.RetryAfter(a.Header, clients.MaxRetryAfter); e.RetryAfter == 0 {
			e.RetryAfter = rule.Wait
		}
	}
	return rule.Organization, e
}

// codeOf is the vendor's own code in an error body, "" if there is none: a 429
// is plain text.
func codeOf(a *clients.Answer) string {
	if a.Status >= 200 && a.Status <= 299 {
		return ""
	}
	var reply struct {
		Code clients.Text `json:"code"`
	}
	if clients.DecodeObject(a, &reply) != nil {
		return ""
	}
	return reply.Code.Code()
}
