package annatest

import "errand.internal/clients/sandbox"

// Mount is the base path under which tests and the demo serve the sandbox.
const Mount = "/anna/"

// The users of a demo's sandbox. Both are active.
const (
	DemoUser   = "u-1001"
	DemoLeaver = "u-1002"
)

// Demo returns a sandbox with users. canary, if it is not empty, is part of every
// secret.
func Demo(canary string) sandbox.Vendor {
	var o Options
	if canary != "" {
		o.CompanyHash = canary + "company"
		o.User = canary + "user"
		o.Password = canary + "password"
	}
	s := New(o)
	s.PutUser(DemoUser, true)
	s.PutUser(DemoLeaver, true)
	return s
}

// Path implements sandbox.Vendor.
func (s *Sandbox) Path() string {
	return Mount
}

// Environ implements sandbox.Vendor.
func (s *Sandbox) Environ(base string) map[string]string {
	return map[string]string{
		"ANNA_URL":          base + Mount,
		"ANNA_COMPANY_HASH": s.options.CompanyHash,
		"ANNA_USER":         s.options.User,
		"ANNA_PASSWORD":     s.options.Password,
	}
}
