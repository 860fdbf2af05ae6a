package dckap

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"errand.internal/clients"
)

// Auth is how the credential is sent.
type Auth string

// The ways to send the credential. Each puts it in one place only.
const (
	Bearer   Auth = "bearer"    // Authorization: Bearer <token>
	Header   Auth = "header"    // access_token: <token>
	Query    Auth = "query"     // ?access_token=<token>
	JWTQuery Auth = "jwt-query" // ?token=<token>
	Basic    Auth = "basic"     // Authorization: Basic <user:password>
)

// The vendor's query parameters for a credential.
const (
	accessTokenParameter = "access_token"
	jwtParameter         = "token"
)

// IsCredentialParameter reports whether the vendor accepts a credential in the
// query parameter of this name. A payload must not set such a parameter.
func IsCredentialParameter(name string) bool {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case accessTokenParameter, jwtParameter, "jwt_token":
		return true
	}
	return false
}

// addToQuery adds the credential to the query of a call if that is where it goes.
func (c Config) addToQuery(query url.Values) {
	switch c.auth() {
	case Query:
		query.Set(accessTokenParameter, c.Token.Reveal())
	case JWTQuery:
		query.Set(jwtParameter, c.Token.Reveal())
	}
}

// addToHeader adds the credential to the header of a call if that is where it
// goes.
func (c Config) addToHeader(req *http.Request) {
	switch c.auth() {
	case Bearer:
		req.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	case Header:
		// In lower case as on the vendor's page; Header.Set would send Access_token.
		req.Header["access_token"] = []string{c.Token.Reveal()}
	case Basic:
		req.SetBasicAuth(c.Username, c.Password.Reveal())
	}
}

// validateCredential reports each invalid setting of the credential.
func (c Config) validateCredential(report func(format string, args ...any)) {
	switch auth := c.auth(); {
	case !slices.Contains([]Auth{Bearer, Header, Query, JWTQuery, Basic}, auth):
		report("AUTH: must be bearer, header, query, jwt-query or basic")
	case auth == Basic:
		if problem := clients.BasicUserProblem(c.Username); problem != "" {
			report("USERNAME: %s", loginProblem(problem))
		}
		if problem := clients.SecretProblem(c.Password); problem != "" {
			report("PASSWORD: %s", loginProblem(problem))
		}
	case c.Token.Empty() && c.Username != "":
		report("TOKEN: is not set; to log in with user and password, set DCKAP_AUTH=basic")
	case c.Token.Empty():
		report("TOKEN: %s", clients.NotSet)
	case !clients.VisibleASCII(c.Token.Reveal()):
		report("TOKEN: must be the token alone, without spaces, control characters or the word Bearer")
	}
}

// loginProblem says why a missing user or password is needed.
func loginProblem(problem string) string {
	if problem == clients.NotSet {
		return problem + ", and DCKAP_AUTH is basic"
	}
	return problem
}
