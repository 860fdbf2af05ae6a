package app

import (
	"context"
	"fmt"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/vendors"
)

// site is one vendor as the doctor sees it.
type site struct {
	vendor     string
	configured bool
	fault      error // of its settings
	addresses  []address
	limits     clients.Limits
	// login names the variables of the credential.
	login string
	// alone has the account of this vendor only, so that another's fault does
	// not stand in its way.
	alone vendors.Config
}

// address is one base URL.
type address struct{ variable, url string }

// sites lists every vendor, in the order of the report. A new field of
// vendors.Config needs a line here.
func (d *doctor) sites() []site {
	c := d.plan.Vendors
	otp, api, an := c.DANAConnect, c.DANAConnectAPI, c.AnnA
	return []site{
		{
			vendor: danaconnect.Vendor, configured: otp.Configured(), fault: otp.Validate(), limits: otp.Limits(),
			addresses: []address{{"DANACONNECT_OTP_URL", otp.OTPURL}},
			login:     "DANACONNECT_USERNAME, DANACONNECT_COMPANY or DANACONNECT_PASSWORD",
			alone:     vendors.Config{DANAConnect: otp},
		},
		{
			vendor: danaconnect.Vendor + " API 2.0", configured: api.Configured(), fault: api.Validate(), limits: api.Limits(),
			addresses: []address{{"DANACONNECT_TOKEN_URL", api.TokenURL}, {"DANACONNECT_API_URL", api.APIURL}},
			login:     "DANACONNECT_CLIENT_ID or DANACONNECT_CLIENT_SECRET",
			alone:     vendors.Config{DANAConnectAPI: api},
		},
		{
			vendor: anna.Vendor, configured: an.Configured(), fault: an.Validate(), limits: an.Limits(),
			addresses: []address{{"ANNA_URL", an.URL}},
			login:     "ANNA_COMPANY_HASH, ANNA_USER or ANNA_PASSWORD",
			alone:     vendors.Config{AnnA: an},
		},
		{
			vendor: dckap.Vendor, configured: c.DCKAP.Configured(), fault: c.DCKAP.Validate(), limits: c.DCKAP.Limits(),
			addresses: []address{{"DCKAP_URL", c.DCKAP.URL}},
			login:     "DCKAP_TOKEN, or DCKAP_USERNAME or DCKAP_PASSWORD,",
			alone:     vendors.Config{DCKAP: c.DCKAP},
		},
		{
			vendor: dinero.Vendor, configured: c.Dinero.Configured(), fault: c.Dinero.Validate(), limits: c.Dinero.Limits(),
			addresses: []address{{"DINERO_TOKEN_URL", c.Dinero.TokenURL}, {"DINERO_API_URL", c.Dinero.APIURL}},
			login:     "DINERO_CLIENT_ID, DINERO_CLIENT_SECRET or DINERO_API_KEYS",
			alone:     vendors.Config{Dinero: c.Dinero},
		},
	}
}

func (d *doctor) vendorChecks(ctx context.Context, s site) []Check {
	if !s.configured {
		return []Check{{Level: redisguard.OK, Name: s.vendor, Seen: "not configured"}}
	}
	var checks []Check
	reached := true
	for _, a := range s.addresses {
		name := s.vendor
		if len(s.addresses) > 1 {
			name += " " + a.variable
		}
		found, ok := d.reach(ctx, name, a, s.limits)
		checks = append(checks, found...)
		reached = reached && ok
	}
	return append(checks, d.credentialChecks(ctx, s, reached)...)
}

// credentialChecks asks how the vendor's credentials stand. reached: all its
// addresses could be connected to.
func (d *doctor) credentialChecks(ctx context.Context, s site, reached bool) []Check {
	name := s.vendor + " credential"
	skipped := func(why, fix string) []Check {
		return []Check{{Level: redisguard.Warn, Name: name, Seen: "not checked: " + why, Fix: fix}}
	}
	switch {
	case s.fault != nil:
		return skipped("its settings are wrong", "correct the settings above")
	case !d.redisAnswers():
		// A login that does not know of a cool-down could lock the account.
		return skipped("Redis does not answer, so nobody can tell whether it rests after a refusal", "see redis above")
	}
	ward, err := d.open(s)
	if err != nil {
		return skipped(err.Error(), "correct the settings above")
	}
	defer ward.Close()
	var checks []Check
	for _, c := range ward.Credentials {
		seen := ward.examine(ctx, c, s, reached)
		seen.Name = fmt.Sprintf("%s credential %s", s.vendor, c.Name)
		if c.Name == s.vendor {
			seen.Name = name
		}
		checks = append(checks, seen)
	}
	return checks
}
