package anna

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// Login gets tokens from GetToken. Its Fetch is a tokens.Fetcher.
type Login struct {
	endpoint
	request loginRequest
	zone    *time.Location
	now     func() time.Time
}

var _ tokens.Fetcher = (*Login)(nil).Fetch

// NewLogin makes a Login. Its error names every variable of cfg that is wrong.
func NewLogin(cfg Config, caller *clients.Caller) (*Login, error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if caller == nil {
		return nil, errors.New("anna: a caller is needed")
	}
	return &Login{
		endpoint: endpoint{base: checked.base, caller: caller},
		request: loginRequest{
			Hash: cfg.CompanyHash.Reveal(),
			User: cfg.User,
			Pass: cfg.Password.Reveal(),
		},
		zone: checked.zone,
		now:  time.Now,
	}, nil
}

// Fetch logs in once. A *tokens.RefusedError means that the credential itself
// was refused: success:false, no token, or a 401 or 403. Everything else is a
// *clients.Error about the service. The life is never unknown: where the vendor
// leaves it open it is five minutes, counted from before the request.
func (l *Login) Fetch(ctx context.Context) (tokens.Grant, error) {
	// A login is no attempt of the task that happens to need it.
	ctx, _ = clients.WithAttempt(ctx, nil)
	answer, err := l.post(ctx, getTokenOp, getTokenPath, secret.String{}, l.request)
	if err != nil {
		return tokens.Grant{}, err
	}
	body, seen, why := look(answer)
	switch seen {
	case sawContradiction:
		return tokens.Grant{}, l.verdictError(getTokenOp, answer.Status, contradicted)
	case sawStatus:
		if answer.Status == http.StatusUnauthorized ||
			answer.Status == http.StatusForbidden {
			return tokens.Grant{}, l.refused(
				fmt.Sprintf("the login was answered with HTTP %d", answer.Status),
			)
		}
		return tokens.Grant{}, clients.StatusError(l.caller.Vendor(), getTokenOp, answer)
	case sawRefusal:
		return tokens.Grant{}, l.refused("the login was answered with success:false")
	}
	return l.grant(answer, body, seen == sawSuccess, why)
}

// grant reads the token out of a 2xx that is no refusal. An object without a
// token is a refusal too, whatever it says about success: going on to log in
// could lock the account.
func (l *Login) grant(
	a *clients.Answer,
	body reply,
	succeeded bool,
	why string,
) (tokens.Grant, error) {
	var data struct {
		Token     json.RawMessage
		ExpiresIn json.RawMessage
	}
	if !body.object {
		return tokens.Grant{}, clients.UnreadableError(
			l.caller.Vendor(),
			getTokenOp,
			a,
			why,
		)
	}
	if len(body.Data) > 0 && json.Unmarshal(body.Data, &data) != nil {
		return tokens.Grant{}, clients.UnreadableError(
			l.caller.Vendor(),
			getTokenOp,
			a,
			"data is no object",
		)
	}
	var token string
	if len(data.Token) > 0 && json.Unmarshal(data.Token, &token) != nil {
		return tokens.Grant{}, clients.UnreadableError(
			l.caller.Vendor(),
			getTokenOp,
			a,
			"data.Token is no text",
		)
	}
	switch token = strings.TrimSpace(token); {
	case token == "":
		return tokens.Grant{}, l.refused("the login was answered without a token")
	case !succeeded:
		return tokens.Grant{}, clients.UnreadableError(
			l.caller.Vendor(),
			getTokenOp,
			a,
			why,
		)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return tokens.Grant{}, clients.UnreadableError(
			l.caller.Vendor(),
			getTokenOp,
			a,
			"data.Token cannot stand in a header",
		)
	}
	life := tokenLife(
		looseText(data.ExpiresIn),
		token,
		vendorNow(a.Header, l.now),
		l.zone,
	)
	return tokens.Grant{Value: secret.New(token), Life: life}, nil
}

func (l *Login) refused(reason string) error {
	return &tokens.RefusedError{Profile: l.caller.Vendor(), Reason: reason}
}
