package danaconnect_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"github.com/caarlos0/env/v11"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/internal/secret"
)

func basicConfig() danaconnect.BasicConfig {
	return danaconnect.BasicConfig{
		Username: "jperez",
		Company:  "loremipsumcompany",
		Password: secret.New("canary-password"),
		OTPURL:   "https://danaconnect.example/otp/1.0/",
	}
}

func newBasicCaller(cfg danaconnect.BasicConfig) (*danaconnect.BasicCaller, error) {
	caller := clients.NewCaller(danaconnect.Vendor, cfg.Timeouts(), nil, nil)
	return danaconnect.NewBasicCaller(cfg, admission.Always(), caller)
}

func TestBasicConfigFromTheEnvironment(t *testing.T) {
	t.Parallel()
	parse := func(environ map[string]string) danaconnect.BasicConfig {
		t.Helper()
		cfg, err := env.ParseAsWithOptions[danaconnect.BasicConfig](
			env.Options{Environment: environ, Prefix: "DANACONNECT_"},
		)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := parse(map[string]string{
		"DANACONNECT_USERNAME": "jperez", "DANACONNECT_COMPANY": "acme", "DANACONNECT_PASSWORD": "p:w@x",
	})
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if cfg.OTPURL != danaconnect.DefaultOTPURL || cfg.Timeouts().Call != 15*time.Second ||
		cfg.Password.Reveal() != "p:w@x" {
		t.Errorf("%+v", cfg)
	}
	cfg = parse(map[string]string{"DANACONNECT_OTP_URL": "http://127.0.0.1:1/x", "DANACONNECT_TIMEOUT": "3s"})
	if cfg.OTPURL != "http://127.0.0.1:1/x" || cfg.Timeouts().Call != 3*time.Second {
		t.Errorf("%+v", cfg)
	}
}

func TestInvalidBasicConfigIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*danaconnect.BasicConfig)
		want   []string
	}{
		{"no user", func(c *danaconnect.BasicConfig) { c.Username = "" }, []string{"DANACONNECT_USERNAME: is not set"}},
		{"no company", func(c *danaconnect.BasicConfig) { c.Company = "" }, []string{"DANACONNECT_COMPANY: is not set"}},
		{
			"no password",
			func(c *danaconnect.BasicConfig) { c.Password = secret.String{} },
			[]string{"DANACONNECT_PASSWORD: is not set"},
		},
		{
			"colon in the user",
			func(c *danaconnect.BasicConfig) { c.Username = "a:b" },
			[]string{"DANACONNECT_USERNAME: must not contain ':'"},
		},
		{
			"colon in the company",
			func(c *danaconnect.BasicConfig) { c.Company = "a:b" },
			[]string{"DANACONNECT_COMPANY: must not contain ':'"},
		},
		{
			"the whole login as user",
			func(c *danaconnect.BasicConfig) { c.Username += "@" + c.Company },
			[]string{"DANACONNECT_USERNAME: must be the user alone"},
		},
		{
			"line end in the user",
			func(c *danaconnect.BasicConfig) { c.Username += "\n" },
			[]string{"DANACONNECT_USERNAME: must not contain control"},
		},
		{
			"space after the company",
			func(c *danaconnect.BasicConfig) { c.Company += " " },
			[]string{"DANACONNECT_COMPANY: must not contain control"},
		},
		{
			"line end in the password",
			func(c *danaconnect.BasicConfig) { c.Password = secret.New("canary\n") },
			[]string{"DANACONNECT_PASSWORD: must not contain control"},
		},
		{
			"plain http",
			func(c *danaconnect.BasicConfig) { c.OTPURL = "http://api.danaconnect.com/otp/1.0/" },
			[]string{"DANACONNECT_OTP_URL: must use https"},
		},
		{
			"password in the URL",
			func(c *danaconnect.BasicConfig) { c.OTPURL = "https://u:canary@api.danaconnect.com/" },
			[]string{"DANACONNECT_OTP_URL: must not contain a user"},
		},
		{
			"plain http of the contacts",
			func(c *danaconnect.BasicConfig) { c.ContactsURL = "http://canary.example" },
			[]string{"DANACONNECT_CONTACTS_URL: must use https"},
		},
		{
			"negative timeout",
			func(c *danaconnect.BasicConfig) { c.Timeout = -1 },
			[]string{"DANACONNECT_TIMEOUT: must not be negative"},
		},
		{
			"everything at once", func(c *danaconnect.BasicConfig) { *c = danaconnect.BasicConfig{OTPURL: "x", Timeout: -1} },
			[]string{
				"DANACONNECT_USERNAME",
				"DANACONNECT_COMPANY",
				"DANACONNECT_PASSWORD",
				"DANACONNECT_OTP_URL",
				"DANACONNECT_TIMEOUT",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := basicConfig()
			tt.change(&cfg)
			_, err := newBasicCaller(cfg)
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %q", err)
			}
			for i := range min(len(lines), len(tt.want)) {
				if !strings.HasPrefix(lines[i], tt.want[i]) {
					t.Errorf("line %q, want %q", lines[i], tt.want[i])
				}
			}
		})
	}
}

func TestBasicConfigIsAccepted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*danaconnect.BasicConfig){
		"the default URL":                     func(c *danaconnect.BasicConfig) { c.OTPURL = "" },
		"plain http where it is allowed":      func(c *danaconnect.BasicConfig) { c.OTPURL = "http://dana.internal/"; c.AllowInsecureHTTP = true },
		"plain http on loopback":              func(c *danaconnect.BasicConfig) { c.OTPURL = "http://localhost:9/danaconnect/otp/1.0" },
		"an address as user":                  func(c *danaconnect.BasicConfig) { c.Username = "ana@example.com" },
		"a password of signs and spaces":      func(c *danaconnect.BasicConfig) { c.Password = secret.New(" %:@ñ ") },
		"a base that ends without a slash":    func(c *danaconnect.BasicConfig) { c.OTPURL = "https://api.danaconnect.com/otp/1.0" },
		"no timeout, which means its default": func(c *danaconnect.BasicConfig) { c.Timeout = 0 },
	} {
		cfg := basicConfig()
		change(&cfg)
		if _, err := newBasicCaller(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
