// Package anna has the tasks that call AnnA: corporate users, and the messenger.
//
// The account is set up by the ANNA_ variables; docs/vendors/anna.md is the guide.
package anna

import (
	"time"

	"errand.internal/clients/anna"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/events"
	"errand.internal/tasks"
)

// Vendor describes AnnA.
var Vendor = tasks.Vendor{
	Name:  anna.Vendor,
	Title: "AnnA",
	Queues: []tasks.Queue{
		{
			Name:          "anna",
			Concurrency:   10,
			PollInterval:  100 * time.Millisecond,
			DelayInterval: time.Second,
		},
		{
			Name:        "polls",
			Concurrency: 10,
		},
	},
	Accounts: []tasks.AccountType{
		tasks.NewAccountType(anna.Vendor, func() *settings { return &settings{} }, open,
			tasks.Define(
				"close a user's access",
				UserInactivate{UserID: "u-1001"},
				inactivateUser,
			),
			tasks.Define(
				"create a login for an active user",
				UserHash{UserID: "u-1001", StartService: "support"},
				hashUser,
			),
			tasks.Define(
				"create or rename a user and create a login",
				UserForceHash{
					UserID:       "u-1001",
					UserName:     "Ana Silva",
					StartService: "support",
				},
				forceHashUser,
			),
			tasks.Define(
				"list the company's departments and channels",
				MessengerStructure{},
				readStructure,
			),
			tasks.Define(
				"list a user's requests",
				MessengerRequests{
					MessengerUser: MessengerUser{UserID: "u-1001"},
					Filters: MessengerFilters{
						Status:  "A",
						DataIni: "today-30d",
						DataFim: "today",
					},
				},
				listRequests,
			),
			tasks.Define(
				"get the link to a user's requests",
				MessengerLink{MessengerUser{UserID: "u-1001"}},
				readLink,
			),
			tasks.Define(
				"count the open requests that await a user's answer",
				MessengerAlerts{
					MessengerUser: MessengerUser{UserID: "u-1001"},
					Filters: MessengerFilters{
						Status:  "A",
						DataIni: "today-7d",
						DataFim: "today",
					},
				},
				countAlerts,
			),
		),
	},
}

// settings are those of one account.
type settings struct {
	anna.Config `envPrefix:"ANNA_"`
}

// Addresses implements account.Settings.
func (s *settings) Addresses() []account.Address {
	return []account.Address{{Variable: "ANNA_URL", URL: s.URL}}
}

// CredentialVariables implements account.Settings.
func (s *settings) CredentialVariables() []string {
	return []string{
		"ANNA_COMPANY_HASH",
		"ANNA_USER",
		"ANNA_PASSWORD",
	}
}

// SetAllowInsecureHTTP implements account.Settings.
func (s *settings) SetAllowInsecureHTTP(allow bool) {
	s.AllowInsecureHTTP = allow
}

// UsePlaceholders implements account.Settings.
func (s *settings) UsePlaceholders() {
	s.CompanyHash = account.Placeholder
	s.User = "user"
	s.Password = account.Placeholder
	if s.URL == "" {
		s.URL = "https://anna-url.invalid/"
	}
}

// client is what the tasks need of an open account.
type client struct {
	*anna.Client
	// alerts notices changed alert counters; nil if nobody receives events.
	alerts *events.Detector
}

func open(s *settings, to *account.Account) (*client, error) {
	caller := to.Caller(anna.Vendor, s.Timeouts(), anna.Operations()...)
	login, err := anna.NewLogin(s.Config, caller)
	if err != nil {
		return nil, err
	}
	profile := s.Profile()
	profile.Fetch = login.Fetch
	admitter := to.Admitter(profile.Profile, admission.Limits{Rate: s.Rate, Concurrency: s.Concurrency}, s.Breaker)
	c, err := anna.New(s.Config, to.Source(profile), caller.AdmittedBy(admitter))
	return &client{Client: c, alerts: to.Detector(alertsChanged)}, err
}

// alertsChanged is the event of a changed alert counter.
var alertsChanged = events.DetectorConfig{
	EventType: "messenger.alerts.changed",
	KeyPrefix: "errand:{polls}:alerts:",
}
