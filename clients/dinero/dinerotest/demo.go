package dinerotest

import (
	"maps"
	"slices"
	"strings"

	"errand.internal/clients/sandbox"
)

// Demo returns a sandbox with the vendor's quota. canary, if it is not empty, is
// part of every secret.
func Demo(canary string) sandbox.Vendor {
	o := Options{Quota: Quota}
	if canary != "" {
		o.ClientID = ClientID
		o.ClientSecret = canary + "secret"
		o.APIKeys = map[string]string{
			Organization:  canary + "key",
			Organization2: canary + "key2",
		}
	}
	return New(o)
}

// Path implements sandbox.Vendor.
func (s *Sandbox) Path() string {
	return Mount
}

// Environ implements sandbox.Vendor.
func (s *Sandbox) Environ(base string) map[string]string {
	var keys []string
	for _, organization := range slices.Sorted(maps.Keys(s.opts.APIKeys)) {
		keys = append(keys, organization+"="+s.opts.APIKeys[organization])
	}
	return map[string]string{
		"DINERO_CLIENT_ID":     s.opts.ClientID,
		"DINERO_CLIENT_SECRET": s.opts.ClientSecret,
		"DINERO_API_KEYS":      strings.Join(keys, ","),
		"DINERO_TOKEN_URL":     base + Mount + TokenPath,
		"DINERO_API_URL":       base + Mount,
	}
}
