// Package danaconnect has the tasks that call DANAConnect: one-time passcodes,
// conversations, contacts, and calls of anything else of API 2.0.
//
// The accounts are set up by the DANACONNECT_ variables;
// docs/vendors/danaconnect.md is the guide.
package danaconnect

import (
	"errors"
	"time"

	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/clients/danaconnect/contacts"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/freecall"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// Vendor describes DANAConnect.
var Vendor = tasks.Vendor{
	Name:  danaconnect.Vendor,
	Title: "DANAConnect",
	Queues: []tasks.Queue{
		{
			Name:          "otp",
			Concurrency:   20,
			PollInterval:  25 * time.Millisecond,
			DelayInterval: 250 * time.Millisecond,
		},
		{
			Name:          "danaconnect",
			Concurrency:   5,
			PollInterval:  100 * time.Millisecond,
			DelayInterval: time.Second,
		},
	},
	Accounts: []tasks.AccountType{basicAccount, apiAccount},
}

// basicAccount has the Basic login of API 1.0.
var basicAccount = tasks.NewAccountType(
	danaconnect.Vendor,
	func() *basicSettings { return &basicSettings{} },
	openBasic,
	tasks.Define(
		"send a one-time passcode",
		OTPSend{
			IDConversation: 824541,
			Values: Values{
				{Key: "COD1_EMAIL", Value: "ana@example.com"},
				{Key: "COD1_NOMBRE", Value: "Ana"},
			},
			OTPType:           1,
			Length:            6,
			SecondsExpiration: new(300),
		},
		sendOTP,
	),
	tasks.Define(
		"check a passcode that a person typed",
		OTPVerify{IDRequest: "251", OTP: "004217"},
		verifyOTP,
	),
	tasks.Define(
		"submit contacts for loading into a table",
		ContactsLoad{
			TableCode:  "CUSTOMERS",
			FieldsCode: []string{"EMAIL", "NAME"},
			Rows: [][]Cell{
				{"ana@example.com", "Ana"},
				{"ben@example.com", "Ben"},
			},
		},
		loadContacts,
	),
)

// apiAccount has the OAuth client of API 2.0.
var apiAccount = tasks.NewAccountType(
	danaconnect.Vendor+" API 2.0",
	func() *apiSettings { return &apiSettings{} },
	openAPI,
	tasks.Define(
		"start a conversation for one contact",
		ConversationStart{
			IDConversation: "824541",
			Data: Fields{
				"COD1_EMAIL":  "ana@example.com",
				"COD1_NOMBRE": "Ana",
			},
		},
		startConversation,
	),
	tasks.Define(
		"call any other endpoint of API 2.0",
		APICall{
			Method: "GET",
			Path:   "records",
			Query:  freecall.Query{"fieldList": "EMAIL"},
		},
		callAPI,
	),
)

// basicSettings are the settings of one Basic login, and of how many passcodes it and one
// recipient may have.
type basicSettings struct {
	danaconnect.BasicConfig `envPrefix:"DANACONNECT_"`
	Recipients              recipientSettings `envPrefix:"OTP_RECIPIENT_"`
	// AccountLimit is how many passcodes the account may send. Unset: no limit.
	AccountLimit settings.Rate `env:"OTP_ACCOUNT_LIMIT" doc:"Most passcodes of the account in a span of time, as N/duration, such as 2000/1h: whoever makes a form send codes to numbers of his own cannot make it costly. The next one is declined. Unset: no limit."`
}

// Addresses implements account.Settings.
func (s *basicSettings) Addresses() []account.Address {
	return []account.Address{
		{Variable: "DANACONNECT_OTP_URL", URL: s.OTPURL},
		{Variable: "DANACONNECT_CONTACTS_URL", URL: s.ContactsURL},
	}
}

// CredentialVariables implements account.Settings.
func (s *basicSettings) CredentialVariables() []string {
	return []string{
		"DANACONNECT_USERNAME",
		"DANACONNECT_COMPANY",
		"DANACONNECT_PASSWORD",
	}
}

// SetAllowInsecureHTTP implements account.Settings.
func (s *basicSettings) SetAllowInsecureHTTP(allow bool) {
	s.AllowInsecureHTTP = allow
}

// UsePlaceholders implements account.Settings.
func (s *basicSettings) UsePlaceholders() {
	s.Username = "user"
	s.Company = "company"
	s.Password = account.Placeholder
}

// Advice implements account.Adviser.
func (s *basicSettings) Advice() []account.Advice {
	return s.Recipients.advice()
}

// basicClient is what the tasks of a Basic login need of it.
type basicClient struct {
	otp        *otp.Client
	contacts   *contacts.Client
	recipients *recipients
}

// openBasic opens the two APIs of one login. They share the credential's gate and
// its limits; each has its own host, and so its own caller.
func openBasic(s *basicSettings, to *account.Account) (*basicClient, error) {
	gate := to.Gate(s.Profile())
	admitter := to.Admitter(s.Profile(), admission.Limits{Rate: s.Rate, Concurrency: s.Concurrency}, s.Breaker)
	otpClient, errOTP := otp.New(
		s.BasicConfig,
		gate,
		to.Caller(danaconnect.Vendor, s.Timeouts(), otp.Operations...).AdmittedBy(admitter),
	)
	contactsClient, errContacts := contacts.New(
		s.BasicConfig,
		gate,
		to.Caller(danaconnect.Vendor, s.Timeouts(), contacts.OpLoad).AdmittedBy(admitter),
	)
	return &basicClient{
		otp:        otpClient,
		contacts:   contactsClient,
		recipients: newRecipients(s, to),
	}, errors.Join(errOTP, errContacts)
}

// apiSettings are those of one client of API 2.0.
type apiSettings struct {
	api.Config `envPrefix:"DANACONNECT_"`
}

// Addresses implements account.Settings.
func (s *apiSettings) Addresses() []account.Address {
	return []account.Address{
		{Variable: "DANACONNECT_TOKEN_URL", URL: s.TokenURL},
		{Variable: "DANACONNECT_API_URL", URL: s.APIURL},
	}
}

// CredentialVariables implements account.Settings.
func (s *apiSettings) CredentialVariables() []string {
	return []string{
		"DANACONNECT_CLIENT_ID",
		"DANACONNECT_CLIENT_SECRET",
	}
}

// SetAllowInsecureHTTP implements account.Settings.
func (s *apiSettings) SetAllowInsecureHTTP(allow bool) {
	s.AllowInsecureHTTP = allow
}

// UsePlaceholders implements account.Settings.
func (s *apiSettings) UsePlaceholders() {
	s.ClientID = "client"
	s.ClientSecret = account.Placeholder
}

func openAPI(s *apiSettings, to *account.Account) (*api.Client, error) {
	caller := to.Caller(danaconnect.Vendor, s.Timeouts(), api.Operations...)
	login, err := api.NewLogin(s.Config, caller)
	if err != nil {
		return nil, err
	}
	profile := s.Profile()
	profile.Fetch = login.Fetch
	admitter := to.Admitter(profile.Profile, admission.Limits{Rate: s.Rate, Concurrency: s.Concurrency}, s.Breaker)
	return api.New(s.Config, to.Source(profile), caller.AdmittedBy(admitter))
}
