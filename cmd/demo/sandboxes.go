package main

import (
	"encoding/json"
	"net/http"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
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
	dckap       *dckaptest.Sandbox
	dinero      *dinerotest.Sandbox
}

const annaMount = "/anna/"

func newSandboxes() *sandboxes {
	s := &sandboxes{
		danaconnect: danaconnecttest.New(danaconnecttest.Options{}),
		anna:        annatest.New(annatest.Options{}),
		dckap:       dckaptest.New(dckaptest.Options{}),
		dinero:      dinerotest.New(dinerotest.Options{Quota: dinerotest.Quota}),
	}
	s.anna.PutUser(staying, true)
	s.anna.PutUser(leaving, true)
	s.dckap.SetPipe(
		"64f1c0de0002",
		dckaptest.Pipe{Answer: json.RawMessage(`{"data":{"orderId":"1001"}}`)},
	)
	return s
}

// mount is where a vendor lies.
type mount struct {
	path   string
	vendor http.Handler
}

func (s *sandboxes) mounts() []mount {
	return []mount{
		{danaconnecttest.Mount, s.danaconnect},
		{annaMount, s.anna},
		{dckaptest.Mount, s.dckap},
		{dinerotest.Mount, s.dinero},
	}
}

func (s *sandboxes) handler() http.Handler {
	mux := http.NewServeMux()
	for _, m := range s.mounts() {
		sandbox.Mount(mux, m.path, m.vendor)
	}
	return mux
}

// environ are the settings that lead a worker to the sandboxes at base.
func (s *sandboxes) environ(base string) map[string]string {
	account := s.anna.Account()
	return map[string]string{
		"DANACONNECT_OTP_URL":       base + danaconnecttest.Mount + "otp/1.0/",
		"DANACONNECT_CONTACTS_URL":  base + danaconnecttest.Mount + "api/contacts/",
		"DANACONNECT_CLIENT_ID":     danaconnecttest.ClientID,
		"DANACONNECT_CLIENT_SECRET": danaconnecttest.ClientSecret,
		"DANACONNECT_TOKEN_URL":     base + danaconnecttest.Mount + "oauth2/token",
		"DANACONNECT_API_URL":       base + danaconnecttest.Mount + "api/2.0/",
		"DANACONNECT_USERNAME":      danaconnecttest.Username,
		"DANACONNECT_COMPANY":       danaconnecttest.Company,
		"DANACONNECT_PASSWORD":      danaconnecttest.Password,
		"ANNA_URL":                  base + annaMount,
		"ANNA_COMPANY_HASH":         account.CompanyHash,
		"ANNA_USER":                 account.User,
		"ANNA_PASSWORD":             account.Password,
		"DCKAP_URL":                 base + dckaptest.Mount + dckaptest.ListenerPath,
		"DCKAP_TOKEN":               dckaptest.Token,
		"DINERO_CLIENT_ID":          dinerotest.ClientID,
		"DINERO_CLIENT_SECRET":      dinerotest.ClientSecret,
		"DINERO_API_KEYS":           dinerotest.Organization + "=" + dinerotest.APIKey + "," + dinerotest.Organization2 + "=" + dinerotest.APIKey2,
		"DINERO_TOKEN_URL":          base + dinerotest.Mount + dinerotest.TokenPath,
		"DINERO_API_URL":            base + dinerotest.Mount,
	}
}
