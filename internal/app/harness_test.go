package app_test

import (
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/redistest"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dinero"
)

// fixture is an apptest.Fixture with the sandboxes that these tests use.
type fixture struct {
	*apptest.Fixture
	danaconnect *danaconnecttest.Sandbox
	dckap       *dckaptest.Sandbox
	dinero      *dinerotest.Sandbox
}

func newFixture(t testing.TB, opts ...redistest.Option) *fixture {
	t.Helper()
	f := apptest.New(t, opts...)
	return &fixture{
		Fixture:     f,
		danaconnect: sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes),
		dckap:       sandbox.Find[*dckaptest.Sandbox](f.Sandboxes),
		dinero:      sandbox.Find[*dinerotest.Sandbox](f.Sandboxes),
	}
}

// otpFor is a task with a static credential.
func otpFor(mail string) danaconnect.OTPSend {
	return danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: mail}},
	}
}

// listContacts is a task with a credential that logs in, and that may be repeated.
var listContacts = dinero.APICall{
	OrganizationID: dinerotest.Organization,
	Method:         "GET",
	Path:           "contacts",
}
