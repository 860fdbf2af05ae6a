package clientstest

import (
	"errors"
	"fmt"
	"strings"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// AsCredentials shows a refused login, a *tokens.RefusedError, as the kind that
// the shared checks know, so that a login can be a Subject. op names the login.
func AsCredentials(op string, err error) error {
	refused, ok := errors.AsType[*tokens.RefusedError](err)
	if !ok {
		return err
	}
	e := &clients.Error{Vendor: refused.Profile, Op: op, Kind: clients.Credentials, Err: refused}
	if _, status, ok := strings.Cut(refused.Reason, "HTTP "); ok {
		_, _ = fmt.Sscan(status, &e.Status)
	}
	return e
}
