package danaconnecttest

import (
	"maps"
	"slices"
	"strings"

	"errand.internal/clients/sandbox"
)

// Demo returns a sandbox with the page's examples. canary, if it is not empty, is
// part of every secret.
func Demo(canary string) sandbox.Vendor {
	var o Options
	if canary != "" {
		o.Logins = map[string]string{canary + "user@" + canary + "company": canary + "password"}
		o.Clients = map[string]string{ClientID: canary + "secret"}
	}
	return New(o)
}

// Path implements sandbox.Vendor.
func (s *Sandbox) Path() string {
	return Mount
}

// Environ implements sandbox.Vendor. Of several logins it takes the first.
func (s *Sandbox) Environ(base string) map[string]string {
	login := slices.Min(slices.Collect(maps.Keys(s.opts.Logins)))
	user, company, _ := strings.Cut(login, "@")
	client := slices.Min(slices.Collect(maps.Keys(s.opts.Clients)))
	return map[string]string{
		"DANACONNECT_OTP_URL":       base + Mount + "otp/1.0/",
		"DANACONNECT_CONTACTS_URL":  base + Mount + "api/contacts/",
		"DANACONNECT_USERNAME":      user,
		"DANACONNECT_COMPANY":       company,
		"DANACONNECT_PASSWORD":      s.opts.Logins[login],
		"DANACONNECT_CLIENT_ID":     client,
		"DANACONNECT_CLIENT_SECRET": s.opts.Clients[client],
		"DANACONNECT_TOKEN_URL":     base + Mount + "oauth2/token",
		"DANACONNECT_API_URL":       base + Mount + "api/2.0/",
	}
}
