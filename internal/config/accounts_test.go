package config

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/account"
	"errand.internal/internal/sandboxes"
	"errand.internal/internal/settings"
	"errand.internal/tasks/all"
)

// unreachable has a Redis that nothing listens on. Opening an account does not need
// one: Redis is first asked when a call is made.
func unreachable(t *testing.T) account.Shared {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	return account.Shared{
		Redis: rdb,
	}
}

// open opens the accounts that the settings configure.
func open(t *testing.T, environ map[string]string) *OpenAccounts {
	t.Helper()
	accounts, err := LoadAccounts(environ)
	if err != nil {
		t.Fatal(err)
	}
	accounts.AllowInsecureHTTP(true)
	opened, err := accounts.Open(unreachable(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened
}

// Tasks can wait for whatever the settings name from the start.
func TestBlockersAreWhatTheSettingsName(t *testing.T) {
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
	for _, b := range opened.Blockers() {
		names = append(names, b.Name)
	}
	want := []string{
		"dckap",
		"dckap-pipe-0123",
		"dckap-pipe-64f1c0de0001",
		"dckap-pipe-64f1c0de0002",
		"dckap-pipe-64f1c0de0003",
		"dckap:breaker",
		"dckap:pause",
		"dinero-1",
		"dinero-2",
		"dinero-org-1",
		"dinero-org-2",
		"dinero-1:breaker",
		"dinero-2:breaker",
		"dinero-1:pause",
		"dinero-2:pause",
	}
	if !slices.Equal(names, want) {
		t.Errorf("blockers %q, want %q", names, want)
	}
	if names, want := opened.Names(), []string{"dckap", "dinero-1", "dinero-2"}; !slices.Equal(names, want) {
		t.Errorf("accounts %q, want %q", names, want)
	}
	var expiring []string
	for _, a := range opened.Parts() {
		for _, p := range a.Expiring {
			expiring = append(expiring, p.Name+" "+p.ExpiresOn.Format(time.DateOnly))
		}
	}
	if want := []string{"dckap 2030-03-31"}; !slices.Equal(expiring, want) {
		t.Errorf("expiring credentials %q, want %q", expiring, want)
	}
	for _, d := range opened.Definitions {
		configured := slices.Contains([]string{"dckap", "dinero"}, d.Vendor)
		if (d.Run != nil) != configured {
			t.Errorf("%s can run: %v, want %v", d.Type, d.Run != nil, configured)
		}
	}
}

// A dry run opens without credentials, whatever the settings say of files and dates
// that only a real account needs.
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
		if err != nil {
			t.Errorf("%s: %v (UsePlaceholders in its tasks/<vendor>/vendor.go sets what is required)", a.Name(), err)
		}
		if len(definitions) == 0 {
			t.Errorf("%s has no task types", a.Name())
		}
		for _, d := range definitions {
			if d.Run == nil {
				t.Errorf("%s: %s cannot run", a.Name(), d.Type)
			}
		}
	}
}

// describeLimits lists the limiters of the accounts: "dinero-1: 95/1m".
func describeLimits(t *testing.T, environ map[string]string) []string {
	t.Helper()
	var list []string
	for _, a := range open(t, environ).Parts() {
		for _, l := range a.Limiters {
			list = append(list, l.Limits().Name+": "+l.Limits().String())
		}
	}
	return list
}

func TestLimitersOfTheAccounts(t *testing.T) {
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
	want := []string{
		"danaconnect-otp: 5/1s, 3 at once",
		"danaconnect-api: 5/1s, 3 at once",
		"dckap: 5/1s",
		"dinero-1: 95/1m",
		"dinero-2: 95/1m",
	}
	if got := describeLimits(t, environ); !slices.Equal(got, want) {
		t.Errorf("limiters %q, want %q", got, want)
	}
}

// Every account keeps the limits that its vendor's variables set, and has no
// limiter if they set none. It has a breaker unless that is off.
func TestEveryAccountHasTheLimitsOfItsVariables(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	environ := sandboxes.New("").Environ(web.URL)
	for _, v := range all.Vendors {
		environ[v.Prefix()+"RATE"] = "5/1s"
		environ[v.Prefix()+"CONCURRENCY"] = "3"
	}
	limited := open(t, environ)
	if got, want := len(limited.Parts()), len(accountTypes()); got != want {
		t.Fatalf("%d accounts were opened, want %d: does Environ in clients/<vendor>/<vendor>test configure each?",
			got, want)
	}
	for _, a := range limited.Parts() {
		if len(a.Limiters) == 0 || len(a.Outages) != len(a.Limiters) {
			t.Errorf("the account of %s has no limiter, or no breaker by default", a.Credentials[0].Name)
		}
		for _, l := range a.Limiters {
			if got, want := l.Limits().String(), "5/1s, 3 at once"; got != want {
				t.Errorf("%s has the limits %q, want %q", l.Limits().Name, got, want)
			}
		}
	}
	for _, v := range all.Vendors {
		environ[v.Prefix()+"RATE"] = "none"
		environ[v.Prefix()+"BREAKER"] = "off"
		delete(environ, v.Prefix()+"CONCURRENCY")
	}
	if got := describeLimits(t, environ); len(got) != 0 {
		t.Errorf("without limits there are the limiters %q", got)
	}
	for _, a := range open(t, environ).Parts() {
		if len(a.Outages) != 0 {
			t.Errorf("%s has a breaker that is off", a.Outages[0].Account())
		}
	}
}

func accountTypes() (names []string) {
	for _, v := range all.Vendors {
		for _, a := range v.Accounts {
			names = append(names, a.Name)
		}
	}
	return names
}

// The accounts' names, addresses and credential variables are what doctor and error
// texts tell an operator.
func TestAccountsDescribeThemselves(t *testing.T) {
	t.Parallel()
	accounts, err := LoadAccounts(nil)
	if err != nil {
		t.Fatal(err)
	}
	accounts.AllowInsecureHTTP(true)
	names := map[string]bool{}
	for _, a := range accounts {
		for _, problem := range describedBadly(a) {
			t.Errorf("%s (settings in its tasks/<vendor>/vendor.go): %s", a.Name(), problem)
		}
		if names[a.Name()] {
			t.Errorf("two accounts are called %s", a.Name())
		}
		names[a.Name()] = true
	}
	got := slices.Sorted(maps.Keys(names))
	if want := slices.Sorted(slices.Values(accountTypes())); !slices.Equal(got, want) {
		t.Errorf("accounts %q, want one of each type, %q", got, want)
	}
}

// describedBadly returns what an account says of itself that its settings do not
// bear out.
func describedBadly(a Account) []string {
	var problems []string
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf(format, args...))
	}
	if a.Name() == "" || a.Vendor.Name == "" || a.Vendor.Title == "" {
		problem("name of the account, or name or title of its vendor, is missing")
	}
	variables := settings.Describe(a.Settings)
	var urls, names []string
	for _, v := range variables {
		names = append(names, v.Name)
		if v.Doc == "" {
			problem("%s has no description", v.Name)
		}
		if strings.HasSuffix(v.Name, "URL") {
			urls = append(urls, v.Name+"="+v.Default)
		}
	}
	var addresses []string
	for _, address := range a.Addresses() {
		addresses = append(addresses, address.Variable+"="+address.URL)
	}
	slices.Sort(urls)
	slices.Sort(addresses)
	if !slices.Equal(urls, addresses) {
		problem("its addresses are %q, its base URLs %q", addresses, urls)
	}
	if len(a.CredentialVariables()) == 0 {
		problem("no variable of a credential is named")
	}
	for _, name := range a.CredentialVariables() {
		if !slices.Contains(names, name) {
			problem("there is no variable %s", name)
		}
	}
	if !permitsInsecureHTTP(a.Settings) {
		problem("it ignores ALLOW_INSECURE_HTTP")
	}
	return problems
}

func permitsInsecureHTTP(s account.Settings) bool {
	field := reflect.ValueOf(s).Elem().FieldByName("AllowInsecureHTTP")
	return field.IsValid() && field.Bool()
}

// misdescribed are settings of an account that misdescribe it.
type misdescribed struct {
	account.Settings
	AllowInsecureHTTP bool
	Base              string `env:"BASE_URL" doc:"Base."`
	Other             string `env:"OTHER_URL"`
}

func (*misdescribed) Addresses() []account.Address {
	return []account.Address{{Variable: "BASE_URL", URL: "https://example.com/"}}
}

func (*misdescribed) CredentialVariables() []string {
	return []string{"NO_SUCH"}
}

func TestDescribedBadlyNamesEveryProblem(t *testing.T) {
	t.Parallel()
	got := strings.Join(describedBadly(Account{Settings: &misdescribed{}}), "\n")
	for _, want := range []string{
		"name of the account",
		"OTHER_URL has no description",
		`its addresses are ["BASE_URL=https://example.com/"], its base URLs ["BASE_URL=" "OTHER_URL="]`,
		"there is no variable NO_SUCH",
		"it ignores ALLOW_INSECURE_HTTP",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}

// An attempt is bounded by its vendor's timeout.
func TestEveryTaskTypeHasACallTimeout(t *testing.T) {
	t.Parallel()
	accounts, err := LoadAccounts(nil)
	if err != nil {
		t.Fatal(err)
	}
	timeouts := accounts.CallTimeouts()
	for _, info := range all.Vendors.Types() {
		if timeouts[info.Vendor] <= 0 {
			t.Errorf("%s: no account belongs to the vendor %q", info.Type, info.Vendor)
		}
	}
	for _, d := range all.Vendors.Definitions() {
		if timeouts[d.Vendor] <= 0 {
			t.Errorf("%s: its definition names the vendor %q", d.Type, d.Vendor)
		}
	}
}
