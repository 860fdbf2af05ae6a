package main

import (
	"net/http"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

// The users that AnnA's sandbox knows from the start.
const (
	staying = "u-1001"
	leaving = "u-1002"
)

// sandboxes are the vendors, one base path each.
type sandboxes struct {
	danaconnect *danaconnecttest.Sandbox
	anna        *annatest.Sandbox
}

const annaMount = "/anna/"

func newSandboxes() *sandboxes {
	s := &sandboxes{
		danaconnect: danaconnecttest.New(danaconnecttest.Options{}),
		anna:        annatest.New(annatest.Options{}),
	}
	s.anna.PutUser(staying, true)
	s.anna.PutUser(leaving, true)
	return s
}

func (s *sandboxes) mounts() []string { return []string{danaconnecttest.Mount, annaMount} }

func (s *sandboxes) handler() http.Handler {
	mux := http.NewServeMux()
	sandbox.Mount(mux, danaconnecttest.Mount, s.danaconnect)
	sandbox.Mount(mux, annaMount, s.anna)
	return mux
}

// environ are the settings that lead a worker to the sandboxes at base.
func (s *sandboxes) environ(base string) map[string]string {
	account := s.anna.Account()
	return map[string]string{
		"DANACONNECT_OTP_URL":  base + danaconnecttest.Mount + "otp/1.0/",
		"DANACONNECT_USERNAME": danaconnecttest.Username,
		"DANACONNECT_COMPANY":  danaconnecttest.Company,
		"DANACONNECT_PASSWORD": danaconnecttest.Password,
		"ANNA_URL":             base + annaMount,
		"ANNA_COMPANY_HASH":    account.CompanyHash,
		"ANNA_USER":            account.User,
		"ANNA_PASSWORD":        account.Password,
	}
}
