package config

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/account"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
	"errand.internal/tasks/all"
)

// open opens accounts with a Redis that is not asked.
func open(t *testing.T, environ map[string]string) *OpenAccounts {
	t.Helper()
	accounts, err := LoadAccounts(environ)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	opened, err := accounts.Open(account.Shared{
		Redis:        rdb,
		TokenOptions: []tokens.Option{tokens.WithMetrics(tokens.NewMetrics(nil))},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened
}

// What an account's settings name must exist, and what exists must be named: the
// doctor and .env.example know nothing else of a vendor.
func TestSettingsOfAccounts(t *testing.T) {
	t.Parallel()
	accounts, err := LoadAccounts(nil)
	if err != nil {
		t.Fatal(err)
	}
	accounts.AllowInsecureHTTP(true)
	names := map[string]bool{}
	for _, a := range accounts {
		if a.Vendor.Name == "" || a.Vendor.Title == "" || a.Name() == "" || names[a.Name()] {
			t.Errorf("%s %q: vendor, title, or a name of its own is missing", a.Vendor.Name, a.Name())
		}
		names[a.Name()] = true
		variables := settings.Describe(a.Settings)
		var urls []string
		for _, v := range variables {
			if strings.HasSuffix(v.Name, "URL") {
				urls = append(urls, v.Name+"="+v.Default)
			}
			if !strings.HasPrefix(v.Name, a.Vendor.Prefix()) && !strings.HasPrefix(v.Name, "OTP_RECIPIENT_") {
				t.Errorf("%s: %s does not begin with %s", a.Name(), v.Name, a.Vendor.Prefix())
			}
		}
		for _, address := range a.Addresses() {
			i := slices.Index(urls, address.Variable+"="+address.URL)
			if i < 0 {
				t.Errorf("%s: %s=%s is no base URL of its settings", a.Name(), address.Variable, address.URL)
				continue
			}
			urls = slices.Delete(urls, i, i+1)
		}
		if len(urls) != 0 {
			t.Errorf("%s: %s: not among the addresses", a.Name(), urls)
		}
		if len(a.CredentialVariables()) == 0 {
			t.Errorf("%s: no variable of a credential", a.Name())
		}
		for _, variable := range a.CredentialVariables() {
			if !slices.ContainsFunc(variables, func(v settings.Variable) bool { return v.Name == variable }) {
				t.Errorf("%s: there is no %s", a.Name(), variable)
			}
		}
	}
}

func TestEveryVendorHasATimeout(t *testing.T) {
	t.Parallel()
	accounts, err := LoadAccounts(nil)
	if err != nil {
		t.Fatal(err)
	}
	bounds := accounts.CallTimeouts()
	for _, info := range all.Vendors.Types() {
		if bounds[info.Vendor] <= 0 {
			t.Errorf("%s: no account is of the vendor %q", info.Type, info.Vendor)
		}
	}
}

// What settings name can be waited for from the start.
func TestBlockers(t *testing.T) {
	t.Parallel()
	opened := open(t, map[string]string{
		"DCKAP_TOKEN":            "t",
		"DCKAP_TOKEN_EXPIRES_ON": "2030-03-31",
		"DCKAP_PIPES_FILE":       "../../clients/dckap/testdata/pipes.yaml",
		"DINERO_CLIENT_ID":       "c",
		"DINERO_CLIENT_SECRET":   "s",
		"DINERO_API_KEYS":        "1=a,2=b",
	})
	var names []string
	for _, c := range opened.Blockers() {
		names = append(names, c.Name)
	}
	want := []string{
		"dckap", "dckap-pipe-0123", "dckap-pipe-64f1c0de0001", "dckap-pipe-64f1c0de0002", "dckap-pipe-64f1c0de0003",
		"dinero-1", "dinero-2", "dinero-org-1", "dinero-org-2",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	var expiring []tokens.Profile
	for _, a := range opened.Accounts {
		expiring = append(expiring, a.Expiring...)
	}
	if len(expiring) != 1 || expiring[0].ExpiresOn.Format(time.DateOnly) != "2030-03-31" {
		t.Errorf("expiring credentials: %+v", expiring)
	}
}

// Which accounts have limits of their own, and which share them.
func TestLimitsOfAccounts(t *testing.T) {
	t.Parallel()
	environ := map[string]string{
		"DANACONNECT_USERNAME":      "u",
		"DANACONNECT_COMPANY":       "c",
		"DANACONNECT_PASSWORD":      "p",
		"DANACONNECT_CLIENT_ID":     "c",
		"DANACONNECT_CLIENT_SECRET": "s",
		"DANACONNECT_RATE":          "5/1s",
		"DANACONNECT_CONCURRENCY":   "3",
		"DCKAP_TOKEN":               "t",
		"DCKAP_RATE":                "5/1s",
		"DINERO_CLIENT_ID":          "c",
		"DINERO_CLIENT_SECRET":      "s",
		"DINERO_API_KEYS":           "1=a,2=b",
	}
	describe := func() []string {
		t.Helper()
		var found []string
		for _, a := range open(t, environ).Accounts {
			for _, l := range a.Limiters {
				found = append(found, l.Account().Name+": "+l.Account().String())
			}
		}
		return found
	}
	want := []string{
		"danaconnect-otp: 5/1s, 3 at once",
		"danaconnect-api: 5/1s, 3 at once",
		"dckap: 5/1s",
		"dinero-1: 95/1m",
		"dinero-2: 95/1m",
	}
	if got := describe(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"DANACONNECT_RATE", "DANACONNECT_CONCURRENCY", "DCKAP_RATE"} {
		delete(environ, name)
	}
	environ["DINERO_RATE"] = "none"
	if got := describe(); len(got) != 0 {
		t.Errorf("without any: %q", got)
	}
}

// A dry run needs no account, and no usable file.
func TestDryRunNeedsNoAccount(t *testing.T) {
	t.Parallel()
	accounts, err := LoadAccounts(map[string]string{
		"DCKAP_PIPES_FILE":       "none.yaml",
		"DCKAP_TOKEN_EXPIRES_ON": "soon",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		a.UsePlaceholders()
		definitions, err := a.Open(account.DryRun(http.DefaultTransport))
		if err != nil || len(definitions) == 0 {
			t.Errorf("%s: %d task types, %v", a.Name(), len(definitions), err)
		}
		for _, d := range definitions {
			if d.Run == nil {
				t.Errorf("%s cannot be shown", d.Type)
			}
		}
	}
}
