package anna_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/secret"
)

func TestConfigFromTheEnvironment(t *testing.T) {
	t.Parallel()
	parse := func(environ map[string]string) anna.Config {
		cfg, err := env.ParseAsWithOptions[anna.Config](env.Options{Environment: environ, Prefix: "ANNA_"})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := parse(map[string]string{
		"ANNA_URL":              "https://anna.example/base",
		"ANNA_COMPANY_HASH":     company,
		"ANNA_USER":             login,
		"ANNA_PASSWORD":         password,
		"ANNA_TIME_ZONE":        "UTC",
		"ANNA_TIMEOUT":          "3s",
		"ANNA_ALREADY_INACTIVE": "is inactive|já inativo",
	})
	if cfg.URL != "https://anna.example/base" ||
		!cfg.CompanyHash.Equal(company) ||
		cfg.User != login ||
		!cfg.Password.Equal(password) ||
		cfg.TimeZone != "UTC" ||
		cfg.Timeout != 3*time.Second ||
		strings.Join(cfg.AlreadyInactive, "/") != "is inactive/já inativo" {
		t.Errorf("the environment is parsed as %+v", cfg)
	}
	if cfg.Timeouts().Call != 3*time.Second {
		t.Errorf("timeout of a call %v, want 3 s", cfg.Timeouts().Call)
	}
	if err := cfg.Validate(); err != nil || !cfg.Configured() {
		t.Errorf("Validate() = %v, Configured() = %v", err, cfg.Configured())
	}

	bare := parse(map[string]string{})
	if bare.TimeZone != "America/Sao_Paulo" || bare.Timeout != 15*time.Second || len(bare.AlreadyInactive) != 0 {
		t.Errorf("the defaults are %+v", bare)
	}
	if bare.Configured() {
		t.Error("an empty account is reported as configured")
	}
	for name, value := range map[string]string{
		"URL":          "https://anna.example",
		"COMPANY_HASH": company,
		"USER":         login,
		"PASSWORD":     password,
	} {
		if half := parse(map[string]string{"ANNA_" + name: value}); !half.Configured() || half.Validate() == nil {
			t.Errorf("only ANNA_%s: Configured() = %v, Validate() = %v", name, half.Configured(), half.Validate())
		}
	}
}

func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		change    func(*anna.Config)
		variables []string
	}{
		{
			"nothing",
			func(c *anna.Config) { *c = anna.Config{} },
			[]string{"ANNA_URL", "ANNA_COMPANY_HASH", "ANNA_USER", "ANNA_PASSWORD"},
		},
		{"no URL", func(c *anna.Config) { c.URL = "" }, []string{"ANNA_URL"}},
		{"no company", func(c *anna.Config) { c.CompanyHash = secret.String{} }, []string{"ANNA_COMPANY_HASH"}},
		{"no user", func(c *anna.Config) { c.User = "" }, []string{"ANNA_USER"}},
		{"no password", func(c *anna.Config) { c.Password = secret.String{} }, []string{"ANNA_PASSWORD"}},
		{
			"end of a line in the company",
			func(c *anna.Config) { c.CompanyHash = secret.New(company + "\n") },
			[]string{"ANNA_COMPANY_HASH"},
		},
		{"end of a line in the user", func(c *anna.Config) { c.User = login + "\r\n" }, []string{"ANNA_USER"}},
		{
			"control character in the password",
			func(c *anna.Config) { c.Password = secret.New(password + "\x00") },
			[]string{"ANNA_PASSWORD"},
		},
		{"plain http", func(c *anna.Config) { c.URL = "http://anna.example" }, []string{"ANNA_URL"}},
		{"no scheme", func(c *anna.Config) { c.URL = "anna.example" }, []string{"ANNA_URL"}},
		{
			"password in the URL",
			func(c *anna.Config) { c.URL = "https://u:" + password + "@anna.example" },
			[]string{"ANNA_URL"},
		},
		{"query", func(c *anna.Config) { c.URL = "https://anna.example/?x=1" }, []string{"ANNA_URL"}},
		{"no such zone", func(c *anna.Config) { c.TimeZone = "Brazil" }, []string{"ANNA_TIME_ZONE"}},
		{"negative timeout", func(c *anna.Config) { c.Timeout = -time.Second }, []string{"ANNA_TIMEOUT"}},
		{
			"empty text",
			func(c *anna.Config) { c.AlreadyInactive = []string{"is inactive", " "} },
			[]string{"ANNA_ALREADY_INACTIVE"},
		},
		{"several problems", func(c *anna.Config) {
			c.User = ""
			c.TimeZone = "Brazil"
			c.URL = "ftp://x"
		}, []string{"ANNA_URL", "ANNA_USER", "ANNA_TIME_ZONE"}},
	}
	caller := clients.NewCaller("anna", clients.Timeouts{}, nil, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config("https://anna.example")
			tt.change(&cfg)
			_, newErr := anna.New(cfg, &source{}, caller)
			_, loginErr := anna.NewLogin(cfg, caller)
			for from, err := range map[string]error{"Validate": cfg.Validate(), "New": newErr, "NewLogin": loginErr} {
				if err == nil {
					t.Fatalf("%s accepts the config", from)
				}
				for _, name := range tt.variables {
					if !strings.Contains(err.Error(), name) {
						t.Errorf("%s does not name %s: %v", from, name, err)
					}
				}
				if n := strings.Count(err.Error(), "ANNA_"); n != len(tt.variables) {
					t.Errorf("%s names %d variables, want %d: %v", from, n, len(tt.variables), err)
				}
				clientstest.NoLeak(t, err, canaries...)
			}
		})
	}
}

func TestValidConfig(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*anna.Config){
		"https":                func(*anna.Config) {},
		"base path":            func(c *anna.Config) { c.URL = "https://anna.example/customer/7/" },
		"loopback":             func(c *anna.Config) { c.URL = "http://127.0.0.1:9000/anna" },
		"plain http permitted": func(c *anna.Config) { c.URL = "http://anna.example"; c.AllowInsecureHTTP = true },
		"zone unset":           func(c *anna.Config) { c.TimeZone = "" },
		"zone set":             func(c *anna.Config) { c.TimeZone = "America/Manaus" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config("https://anna.example")
			change(&cfg)
			if err := cfg.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMissingDependencies(t *testing.T) {
	t.Parallel()
	cfg := config("https://anna.example")
	caller := clients.NewCaller("anna", clients.Timeouts{}, nil, nil)
	if _, err := anna.New(cfg, nil, caller); err == nil {
		t.Error("New accepts a nil source")
	}
	if _, err := anna.New(cfg, &source{}, nil); err == nil {
		t.Error("New accepts a nil caller")
	}
	if _, err := anna.NewLogin(cfg, nil); err == nil {
		t.Error("NewLogin accepts a nil caller")
	}
}
