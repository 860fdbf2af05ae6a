package vendors

import (
	"errand.internal/clients"
	"errand.internal/internal/limits"
	"errand.internal/internal/tokens"
)

// limit makes the limiter of a credential's account; nil if it has no limits.
func (a *Accounts) limit(
	s Shared,
	p tokens.Profile,
	account limits.Account,
) clients.Limiter {
	if !account.Limited() {
		return nil
	}
	account.Name = p.Name
	account.Identity = identity(p)
	account.Call = p.Timeout
	limiter := limits.New(s.Redis, s.Salt, account, s.Limits...)
	a.Limits = append(a.Limits, limiter)
	return limiter
}

// identity is who an account is at the vendor: a new password does not make it
// another one, with a quota of its own. Only where a token is all that there is,
// it is the account.
func identity(p tokens.Profile) []string {
	id := p.Identity
	parts := []string{id.URL, id.ClientID, id.Username}
	if id.ClientID == "" && id.Username == "" {
		for _, s := range id.Secrets {
			parts = append(parts, s.Reveal())
		}
	}
	return parts
}
