package fleet

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

const annaMount = "/anna/"

// secret is a secret of the site; what tells it from the others.
func (s *Site) secret(what string) string {
	return s.Canary + "-" + what
}

// openVendors serves the sandboxes, each with an account of the site's own, and
// returns the settings that lead a worker to them.
func (s *Site) openVendors(o Options) map[string]string {
	o.AnnA.CompanyHash = s.secret("company")
	o.AnnA.User = s.secret("anna-user")
	o.AnnA.Password = s.secret("anna-password")
	o.OTP.Logins = map[string]string{
		s.secret("otp-user") + "@" + s.secret("otp-company"): s.secret("otp-password"),
	}
	o.DCKAP.Token = s.secret("dckap-token")
	o.Dinero.ClientID = "client"
	o.Dinero.ClientSecret = s.secret("dinero-secret")
	o.Dinero.APIKeys = map[string]string{}
	var keys []string
	for n := range max(o.Organizations, 1) {
		organization, key := fmt.Sprint(
			100001+n,
		), s.secret(
			fmt.Sprintf("dinero-key-%d", n+1),
		)
		o.Dinero.APIKeys[organization] = key
		s.organizations = append(s.organizations, organization)
		keys = append(keys, organization+"="+key)
	}
	s.AnnA = annatest.New(o.AnnA)
	s.OTP = danaconnecttest.New(o.OTP)
	s.DCKAP = dckaptest.New(o.DCKAP)
	s.Dinero = dinerotest.New(o.Dinero)

	mux := http.NewServeMux()
	sandbox.Mount(mux, danaconnecttest.Mount, s.OTP)
	sandbox.Mount(mux, annaMount, s.AnnA)
	sandbox.Mount(mux, dckaptest.Mount, s.DCKAP)
	sandbox.Mount(mux, dinerotest.Mount, s.Dinero)
	web := httptest.NewServer(s.traffic.watch(mux))
	s.tb.Cleanup(web.Close)
	return map[string]string{
		"DANACONNECT_OTP_URL":      web.URL + danaconnecttest.Mount + "otp/1.0/",
		"DANACONNECT_CONTACTS_URL": web.URL + danaconnecttest.Mount + "api/contacts/",
		"DANACONNECT_USERNAME":     s.secret("otp-user"),
		"DANACONNECT_COMPANY":      s.secret("otp-company"),
		"DANACONNECT_PASSWORD":     s.secret("otp-password"),
		"ANNA_URL":                 web.URL + annaMount,
		"ANNA_COMPANY_HASH":        s.secret("company"),
		"ANNA_USER":                s.secret("anna-user"),
		"ANNA_PASSWORD":            s.secret("anna-password"),
		"DCKAP_URL":                web.URL + dckaptest.Mount + dckaptest.ListenerPath,
		"DCKAP_TOKEN":              s.secret("dckap-token"),
		"DINERO_CLIENT_ID":         "client",
		"DINERO_CLIENT_SECRET":     s.secret("dinero-secret"),
		"DINERO_API_KEYS":          strings.Join(keys, ","),
		"DINERO_TOKEN_URL":         web.URL + dinerotest.Mount + dinerotest.TokenPath,
		"DINERO_API_URL":           web.URL + dinerotest.Mount,
	}
}
