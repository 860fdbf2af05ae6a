package api_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/secret"
)

func TestConfigErrorNamesEveryInvalidVariable(t *testing.T) {
	t.Parallel()
	good := config("https://danaconnect.example/")
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := (api.Config{ClientID: "a", ClientSecret: secret.New("b:c d")}).Validate(); err != nil {
		t.Errorf("without URLs the vendor's own apply: %v", err)
	}
	for name, tt := range map[string]struct {
		change func(*api.Config)
		want   []string
	}{
		"all": {func(c *api.Config) {
			*c = api.Config{TokenURL: "http://canary.example", APIURL: "canary", Timeout: -1}
		}, []string{"_CLIENT_ID", "_CLIENT_SECRET", "_TOKEN_URL", "_API_URL", "_TIMEOUT"}},
		"colon":          {func(c *api.Config) { c.ClientID = "canary:x" }, []string{"_CLIENT_ID"}},
		"space":          {func(c *api.Config) { c.ClientID = "canary " }, []string{"_CLIENT_ID"}},
		"end of a line":  {func(c *api.Config) { c.ClientSecret = secret.New("canary\n") }, []string{"_CLIENT_SECRET"}},
		"query in a URL": {func(c *api.Config) { c.TokenURL += "?canary" }, []string{"_TOKEN_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			tt.change(&cfg)
			err := cfg.Validate()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, variable := range tt.want {
				if !strings.Contains(err.Error(), "DANACONNECT"+variable+": ") {
					t.Errorf("%q does not name %s", err, variable)
				}
			}
			if strings.Count(err.Error(), "DANACONNECT_") != len(tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %q", err)
			}
			caller := clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, nil, nil)
			if _, err := api.New(cfg, &twoTokens{}, caller); err == nil {
				t.Error("New accepts it")
			}
			if _, err := api.NewLogin(cfg, caller); err == nil {
				t.Error("NewLogin accepts it")
			}
		})
	}
	if (api.Config{}).Configured() || !(api.Config{ClientID: "a"}).Configured() ||
		!(api.Config{ClientSecret: secret.New("a")}).Configured() {
		t.Error("Configured is wrong")
	}
}

// TestProfile checks that the identity holds every part of the credential, so that
// its fingerprint changes with each.
func TestProfile(t *testing.T) {
	t.Parallel()
	cfg := config("https://danaconnect.example/")
	p := cfg.Profile()
	if p.Name != "danaconnect-api" || p.Identity.ClientID != cfg.ClientID || p.Identity.URL != cfg.TokenURL || len(p.Identity.Secrets) != 1 ||
		!p.Identity.Secrets[0].Equal(danaconnecttest.ClientSecret) ||
		p.Timeout != 15*time.Second {
		t.Errorf("%+v", p)
	}
}
