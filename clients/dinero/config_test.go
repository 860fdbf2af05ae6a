package dinero_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
	"errand.internal/internal/secret"
)

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	good := dinero.Config{ClientID: "rasmus", ClientSecret: secret.New(clientSecret), APIKeys: secret.New("1=k")}
	with := func(change func(*dinero.Config)) dinero.Config { c := good; change(&c); return c }
	keys := func(text string) dinero.Config { return with(func(c *dinero.Config) { c.APIKeys = secret.New(text) }) }
	for _, tt := range []struct {
		name string
		cfg  dinero.Config
		want string
	}{
		{"good", good, ""},
		{"colon in the secret", with(func(c *dinero.Config) { c.ClientSecret = secret.New("a:b") }), ""},
		{"keys with special characters", keys("123456=k+/=&, 654321=a=b"), ""},
		{"nothing", dinero.Config{}, "DINERO_CLIENT_ID: is not set\nDINERO_CLIENT_SECRET: is not set\nDINERO_API_KEYS: is not set"},
		{"colon in the id", with(func(c *dinero.Config) { c.ClientID = "a:b" }), "DINERO_CLIENT_ID: must not contain ':'"},
		{"space in the id", with(func(c *dinero.Config) { c.ClientID = "a " }), "DINERO_CLIENT_ID: must not contain control characters or begin or end with a space"},
		{"line end in the secret", with(func(c *dinero.Config) { c.ClientSecret = secret.New(clientSecret + "\n") }), "DINERO_CLIENT_SECRET: must not contain control characters, such as the end of a line"},
		{"no organization", keys(apiKey), "DINERO_API_KEYS: entry 1 must be written organizationId=key"},
		{"no key", keys("1=k,2="), "DINERO_API_KEYS: entry 2 must be written organizationId=key"},
		{"a trailing comma", keys("1=k,"), "DINERO_API_KEYS: entry 2 must be written organizationId=key"},
		{"organization not a number", keys("acme=" + apiKey), "DINERO_API_KEYS: entry 1 must begin with an organization id, which is digits"},
		{"space in a key", keys("1=" + apiKey + " x"), "DINERO_API_KEYS: entry 1 has a space or a control character in its key"},
		{"twice", keys("1=a,1=b"), "DINERO_API_KEYS: entry 2 names an organization for the second time"},
		{"two problems", keys("a=b,1"), "DINERO_API_KEYS: entry 1 must begin with an organization id, which is digits\nDINERO_API_KEYS: entry 2 must be written organizationId=key"},
		{
			"plain http", with(func(c *dinero.Config) { c.TokenURL, c.APIURL = "http://a.example/t", "http://b.example" }),
			"DINERO_TOKEN_URL: must use https; plain http is for loopback hosts, or with ALLOW_INSECURE_HTTP=true\nDINERO_API_URL: must use https; plain http is for loopback hosts, or with ALLOW_INSECURE_HTTP=true",
		},
		{"timeout", with(func(c *dinero.Config) { c.Timeout = -1 }), "DINERO_TIMEOUT: must not be negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clientstest.Settings(t, tt.cfg.Validate(), tt.want, canaries...)
			if tt.cfg.Configured() == (tt.name == "nothing") {
				t.Errorf("Configured is %v", tt.cfg.Configured())
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	cfg := config("https://dinero.example/")
	if got := strings.Join(cfg.Organizations(), " "); got != org+" "+otherOrg {
		t.Errorf("organizations %s", got)
	}
	p, other := cfg.Profile(org), cfg.Profile(otherOrg)
	if p.Name != "dinero-"+org || p.Identity.Grant != "password" || p.Identity.ClientID != "rasmus" ||
		p.Identity.Scope != "read write" ||
		p.Timeout != 15*time.Second {
		t.Errorf("%+v", p)
	}
	if len(p.Identity.Secrets) != 2 || !p.Identity.Secrets[1].Equal(apiKey) ||
		!other.Identity.Secrets[1].Equal(otherKey) {
		t.Error("the key is not part of the identity")
	}
	if o := cfg.OrganizationProfile(org); o.Name != "dinero-org-"+org || len(o.Identity.Secrets) != 0 {
		t.Errorf("%+v", o)
	}
}
