package tasks

import "errand.internal/internal/events"

// account is what a vendor's tasks need on a worker.
type account struct {
	vendor string // as settings and metrics name it
	has    func(Vendors) bool
}

var (
	danaconnectOTP = account{
		"danaconnect",
		func(v Vendors) bool { return v.DANAConnectOTP != nil },
	}
	// DANAConnect has two more accounts: contacts need the login of the OTP API, API
	// 2.0 a client of its own.
	danaconnectContacts = account{"danaconnect", func(v Vendors) bool {
		return v.DANAConnectContacts != nil
	}}
	danaconnectAPI = account{
		"danaconnect",
		func(v Vendors) bool { return v.DANAConnectAPI != nil },
	}
	annaUsers   = account{"anna", func(v Vendors) bool { return v.AnnA != nil }}
	dckapPipes  = account{"dckap", func(v Vendors) bool { return v.DCKAP != nil }}
	dineroBooks = account{"dinero", func(v Vendors) bool { return v.Dinero != nil }}
	eventSink   = account{
		events.Vendor,
		func(v Vendors) bool { return v.Events != nil },
	}
)

// catalogue is every task type there is, one line each: vendor, what it does,
// an example payload, the handler.
var catalogue = []entry{
	define(danaconnectOTP, "make a one-time passcode and have it sent",
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
		func(v Vendors) handler[OTPSend, OTPSent] {
			return sendOTP(v.DANAConnectOTP, v.Recipients)
		}),
	define(danaconnectOTP, "check the passcode that a person typed",
		OTPVerify{IDRequest: "251", OTP: "004217"},
		func(v Vendors) handler[OTPVerify, OTPVerdict] {
			return verifyOTP(v.DANAConnectOTP)
		}),
	define(
		danaconnectAPI,
		"start a conversation for one contact",
		ConversationStart{
			IDConversation: "824541",
			Data:           Fields{"COD1_EMAIL": "ana@example.com", "COD1_NOMBRE": "Ana"},
		},
		func(v Vendors) handler[ConversationStart, VendorAnswer] {
			return startConversation(v.DANAConnectAPI)
		},
	),
	define(
		danaconnectContacts,
		"hand contacts over for loading into a table",
		ContactsLoad{
			TableCode:  "CUSTOMERS",
			FieldsCode: []string{"EMAIL", "NAME"},
			Rows:       [][]Cell{{"ana@example.com", "Ana"}, {"ben@example.com", "Ben"}},
		},
		func(v Vendors) handler[ContactsLoad, VendorAnswer] {
			return loadContacts(v.DANAConnectContacts)
		},
	),
	define(danaconnectAPI, "call anything of API 2.0",
		DANAConnectCall{
			Method: "GET",
			Path:   "records",
			Query:  Query{"fieldList": "EMAIL"},
		},
		func(v Vendors) handler[DANAConnectCall, VendorAnswer] {
			return callDANAConnect(v.DANAConnectAPI)
		}),
	define(annaUsers, "close a user's access",
		UserInactivate{UserID: "u-1001"},
		func(v Vendors) handler[UserInactivate, None] {
			return inactivateUser(v.AnnA)
		}),
	define(annaUsers, "mint a login for an active user",
		UserHash{UserID: "u-1001", StartService: "support"},
		func(v Vendors) handler[UserHash, UserAccess] {
			return hashUser(v.AnnA)
		}),
	define(annaUsers, "make or change a user and mint a login",
		UserForceHash{
			UserID:       "u-1001",
			UserName:     "Ana Silva",
			StartService: "support",
		},
		func(v Vendors) handler[UserForceHash, UserAccess] {
			return forceHashUser(v.AnnA)
		}),
	define(annaUsers, "list the company's departments and channels",
		MessengerStructure{},
		func(v Vendors) handler[MessengerStructure, CompanyStructure] {
			return readStructure(v.AnnA)
		}),
	define(
		annaUsers,
		"list a user's requests",
		MessengerRequests{
			MessengerUser: MessengerUser{UserID: "u-1001"},
			Filters: MessengerFilters{
				Status:  "A",
				DataIni: "today-30d",
				DataFim: "today",
			},
		},
		func(v Vendors) handler[MessengerRequests, UserRequests] {
			return listRequests(v.AnnA)
		},
	),
	define(annaUsers, "get the link to a user's requests",
		MessengerLink{MessengerUser{UserID: "u-1001"}},
		func(v Vendors) handler[MessengerLink, UserLink] {
			return readLink(v.AnnA)
		}),
	define(
		annaUsers,
		"count the open requests that wait for a user's answer",
		MessengerAlerts{
			MessengerUser: MessengerUser{UserID: "u-1001"},
			Filters: MessengerFilters{
				Status:  "A",
				DataIni: "today-7d",
				DataFim: "today",
			},
		},
		func(v Vendors) handler[MessengerAlerts, AlertCount] {
			return countAlerts(v.AnnA, v.Changes)
		},
	),
	define(dckapPipes, "call a dynamic pipe",
		DynamicCall{Listener: "64f1c0de0001", Body: map[string]any{"order": "1001"}},
		func(v Vendors) handler[DynamicCall, PipeAnswer] {
			return callPipe(v.DCKAP)
		}),
	define(dineroBooks, "call anything of the API for one organization",
		DineroCall{
			OrganizationID: "123456",
			Method:         "GET",
			Path:           "contacts",
			Query:          Query{"fields": "Name,ContactGuid", "pageSize": 100},
		},
		func(v Vendors) handler[DineroCall, VendorAnswer] {
			return callDinero(v.Dinero)
		}),
	findable(define(dineroBooks, "make a contact, and never twice",
		ContactCreate{DineroRecord{OrganizationID: "123456", Body: map[string]any{
			"Name":              "Ana Silva",
			"IsPerson":          true,
			"CountryKey":        "DK",
			"ExternalReference": "crm-4711",
		}}},
		func(v Vendors) handler[ContactCreate, DineroCreated] {
			return createContact(v.Dinero)
		}),
		func(v Vendors) finder[ContactCreate, DineroCreated] {
			return findContact(v.Dinero)
		}),
	findable(define(dineroBooks, "make a draft of an invoice, and never twice",
		InvoiceCreate{DineroRecord{OrganizationID: "123456", Body: map[string]any{
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
		}}},
		func(v Vendors) handler[InvoiceCreate, DineroCreated] {
			return createInvoice(v.Dinero)
		}),
		func(v Vendors) finder[InvoiceCreate, DineroCreated] {
			return findInvoice(v.Dinero)
		}),
	internal(define(eventSink, "post an event to the operator's receiver",
		eventDeliver{
			ID:        "evt_finished_otp-6wk3m5q2c4x7y",
			EventType: events.TaskFinished,
			Timestamp: "2026-01-31T12:00:00.000Z",
			Data:      eventData(`{"id":"otp-6wk3m5q2c4x7y"}`),
		},
		func(v Vendors) handler[eventDeliver, None] {
			return deliverEvent(v.Events)
		})),
}
