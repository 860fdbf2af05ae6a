// Package dckap has the task that calls a dynamic pipe of DCKAP Integrator.
//
// The account is set up by the DCKAP_ variables; docs/vendors/dckap.md is the
// guide.
package dckap

import (
	"errand.internal/clients/dckap"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/tasks"
)

// Vendor describes DCKAP Integrator.
var Vendor = tasks.Vendor{
	Name:  dckap.Vendor,
	Title: "DCKAP Integrator",
	Queues: []tasks.Queue{{
		Name:        "dckap",
		Concurrency: 10,
	}},
	Accounts: []tasks.AccountType{
		tasks.NewAccountType(dckap.Vendor, func() *settings { return &settings{} }, open,
			tasks.Define(
				"call a dynamic pipe",
				DynamicCall{
					Listener: "64f1c0de0001",
					Body:     map[string]any{"order": "1001"},
				},
				callPipe,
			),
		),
	},
}

// settings are those of one account.
type settings struct {
	dckap.Config `envPrefix:"DCKAP_"`
}

// Addresses implements account.Settings.
func (s *settings) Addresses() []account.Address {
	return []account.Address{{Variable: "DCKAP_URL", URL: s.URL}}
}

// CredentialVariables implements account.Settings.
func (s *settings) CredentialVariables() []string {
	return []string{
		"DCKAP_TOKEN",
		"DCKAP_USERNAME",
		"DCKAP_PASSWORD",
	}
}

// SetAllowInsecureHTTP implements account.Settings.
func (s *settings) SetAllowInsecureHTTP(allow bool) {
	s.AllowInsecureHTTP = allow
}

// UsePlaceholders implements account.Settings.
func (s *settings) UsePlaceholders() {
	s.Token = account.Placeholder
	s.Username = "user"
	s.Password = account.Placeholder
	s.TokenExpiresOn = ""
	s.PipesFile = ""
}

func open(s *settings, to *account.Account) (*dckap.Client, error) {
	listeners, err := s.Listeners()
	if err != nil {
		return nil, err
	}
	profile := s.Profile()
	admitter := to.Admitter(profile, admission.Limits{Rate: s.Rate, Concurrency: s.Concurrency}, s.Breaker)
	return dckap.New(
		s.Config,
		to.Gate(profile),
		to.Gates(s.PipeProfile, listeners).Of,
		to.Caller(dckap.Vendor, s.Timeouts(), dckap.OpCall).AdmittedBy(admitter),
	)
}
