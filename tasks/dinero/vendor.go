// Package dinero has the tasks that call Dinero: contacts and invoices that are
// never made twice, and calls of anything else.
//
// The account is set up by the DINERO_ variables; docs/vendors/dinero.md is the
// guide.
package dinero

import (
	"errand.internal/clients/dinero"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/freecall"
	"errand.internal/internal/secret"
	"errand.internal/tasks"
)

// Vendor describes Dinero.
var Vendor = tasks.Vendor{
	Name:  dinero.Vendor,
	Title: "Dinero",
	Queues: []tasks.Queue{{
		Name:        "dinero",
		Concurrency: 5,
	}},
	Accounts: []tasks.AccountType{
		tasks.NewAccountType(dinero.Vendor, func() *settings { return &settings{} }, open,
			tasks.Define(
				"call any endpoint of the API for one organization",
				APICall{
					OrganizationID: "123456",
					Method:         "GET",
					Path:           "contacts",
					Query: freecall.Query{
						"fields":   "Name,ContactGuid",
						"pageSize": 100,
					},
				},
				callAPI,
			),
			tasks.DefineReconciled(
				"create a contact, never a duplicate",
				ContactCreate{Record{
					OrganizationID: "123456",
					Body: map[string]any{
						"Name":              "Ana Silva",
						"IsPerson":          true,
						"CountryKey":        "DK",
						"ExternalReference": "crm-4711",
					},
				}},
				createContact,
				reconcileContact,
			),
			tasks.DefineReconciled(
				"create a draft invoice, never a duplicate",
				InvoiceCreate{Record{
					OrganizationID: "123456",
					Body: map[string]any{
						"ContactGuid":       "00000000-0000-4000-8000-000000000001",
						"Date":              "2026-01-31",
						"ExternalReference": "order-1001",
						"ProductLines": []any{map[string]any{
							"Description":     "Consulting",
							"Quantity":        1.5,
							"AccountNumber":   1000,
							"Unit":            "hours",
							"BaseAmountValue": 800,
						}},
					},
				}},
				createInvoice,
				reconcileInvoice,
			),
		),
	},
}

// settings are those of one account: a client, with a key for each organization.
type settings struct {
	dinero.Config `envPrefix:"DINERO_"`
}

// Addresses implements account.Settings.
func (s *settings) Addresses() []account.Address {
	return []account.Address{
		{Variable: "DINERO_TOKEN_URL", URL: s.TokenURL},
		{Variable: "DINERO_API_URL", URL: s.APIURL},
	}
}

// CredentialVariables implements account.Settings.
func (s *settings) CredentialVariables() []string {
	return []string{
		"DINERO_CLIENT_ID",
		"DINERO_CLIENT_SECRET",
		"DINERO_API_KEYS",
	}
}

// SetAllowInsecureHTTP implements account.Settings.
func (s *settings) SetAllowInsecureHTTP(allow bool) {
	s.AllowInsecureHTTP = allow
}

// UsePlaceholders implements account.Settings.
func (s *settings) UsePlaceholders() {
	s.ClientID = "client"
	s.ClientSecret = account.Placeholder
	s.APIKeys = secret.New("1=" + account.Placeholder.Reveal())
}

func open(s *settings, to *account.Account) (*dinero.Client, error) {
	caller := to.Caller(dinero.Vendor, s.Timeouts(), dinero.Operations...)
	subscriptions := to.Gates(s.OrganizationProfile, s.Organizations())
	organizations := map[string]dinero.Account{}
	for _, id := range s.Organizations() {
		login, err := dinero.NewLogin(s.Config, id, caller)
		if err != nil {
			return nil, err
		}
		profile := s.Profile(id)
		profile.Fetch = login.Fetch
		organizations[id] = dinero.Account{
			Source:  to.Source(profile),
			Breaker: subscriptions.Of(id),
			Admitter: to.Admitter(profile.Profile, admission.Limits{
				Rate:        s.Rate,
				Concurrency: s.Concurrency,
				QuotaPause:  dinero.QuotaRetryAfter,
			}, s.Breaker),
		}
	}
	return dinero.New(s.Config, func(id string) (dinero.Account, bool) {
		if to.IsDryRun() { // any organization can be shown, not just the placeholder
			return organizations[s.Organizations()[0]], true
		}
		organization, known := organizations[id]
		return organization, known
	}, caller)
}
