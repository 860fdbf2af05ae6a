package settings_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// pairs is a type with its own parser.
type pairs map[string]string

func (p *pairs) UnmarshalText(text []byte) error {
	*p = pairs{}
	for i, entry := range strings.Split(string(text), ",") {
		name, value, found := strings.Cut(entry, "=")
		if !found {
			return fmt.Errorf("entry %d must be name=value", i+1)
		}
		(*p)[name] = value
	}
	return nil
}

type vendor struct {
	URL      string        `env:"URL" envDefault:"https://vendor.example/"`
	Password secret.String `env:"PASSWORD"`
	Timeout  time.Duration `env:"TIMEOUT" envDefault:"15s"`
	Rate     settings.Rate `env:"RATE"`
	Retries  int           `env:"RETRIES" envDefault:"3"`
	Ignored  string        `env:"-"`
	plain    string
}

type base struct {
	Addr string `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080"`
}

type config struct {
	base
	Strict  bool     `env:"STRICT"`
	Names   []string `env:"NAMES" envSeparator:"|"`
	Sizes   []uint   `env:"SIZES"`
	Ratio   float64  `env:"RATIO"`
	Queues  pairs    `env:"QUEUES" envDefault:"a=1,b=2"`
	Keys    pairs    `env:"KEYS" secret:"true"`
	Account vendor   `envPrefix:"FIRST_"`
	Nested  struct {
		V vendor `envPrefix:"SECOND_"`
	} `envPrefix:"DEEP_"`
	Needed secret.String `env:"NEEDED,required"`
	Wanted string        `env:"WANTED,notEmpty"`
	Clock  func() time.Time
}

func minimal(more map[string]string) map[string]string {
	environ := map[string]string{"NEEDED": "n", "WANTED": "w"}
	for name, value := range more {
		environ[name] = value
	}
	return environ
}

func TestLoad(t *testing.T) {
	t.Parallel()
	var c config
	c.Account.plain = "kept"
	err := settings.Load(&c, minimal(map[string]string{
		"STRICT":               "true",
		"NAMES":                "a,b|c",
		"SIZES":                "1,2",
		"RATIO":                "0.5",
		"QUEUES":               "otp=20",
		"KEYS":                 "org=k",
		"FIRST_PASSWORD":       "p w",
		"FIRST_TIMEOUT":        "1m30s",
		"FIRST_RATE":           "95/1m",
		"FIRST_URL":            "https://other.example/",
		"DEEP_SECOND_PASSWORD": "q",
		"DEEP_SECOND_RETRIES":  "7",
		"UNRELATED":            "x",
		"FIRST_UNKNOWN":        "not checked",
	}))
	if err != nil {
		t.Fatal(err)
	}
	checks := []struct {
		what      string
		got, want any
	}{
		{"embedded default", c.Addr, "127.0.0.1:8080"},
		{"bool", c.Strict, true},
		{"separator", fmt.Sprint(c.Names), "[a,b c]"},
		{"list of numbers", fmt.Sprint(c.Sizes), "[1 2]"},
		{"float", c.Ratio, 0.5},
		{"own parser", fmt.Sprint(c.Queues), "map[otp:20]"},
		{"own secret parser", c.Keys["org"], "k"},
		{"secret", c.Account.Password.Reveal(), "p w"},
		{"duration", c.Account.Timeout, 90 * time.Second},
		{"rate", c.Account.Rate, settings.Rate{N: 95, Per: time.Minute}},
		{"override", c.Account.URL, "https://other.example/"},
		{"default beside", c.Account.Retries, 3},
		{"nested prefix", c.Nested.V.Password.Reveal(), "q"},
		{"nested default", c.Nested.V.Timeout, 15 * time.Second},
		{"nested number", c.Nested.V.Retries, 7},
		{"unset rate", c.Nested.V.Rate.IsZero(), true},
		{"untagged field", c.Account.plain, "kept"},
	}
	for _, check := range checks {
		if check.got != check.want {
			t.Errorf("%s = %v, want %v", check.what, check.got, check.want)
		}
	}
}

func TestLoadReadsOnlyItsMap(t *testing.T) {
	t.Setenv("FIRST_RETRIES", "99")
	t.Setenv("NEEDED", "from the process")
	for name, environ := range map[string]map[string]string{"nil": nil, "empty": {}} {
		var c config
		err := settings.Load(&c, environ)
		if err == nil || !strings.Contains(err.Error(), "NEEDED: must be set") || c.Account.Retries != 3 {
			t.Errorf("%s: %v, retries %d", name, err, c.Account.Retries)
		}
	}
}

func TestEmptyCountsAsUnset(t *testing.T) {
	t.Parallel()
	var c config
	err := settings.Load(&c, minimal(map[string]string{
		"HTTP_ADDR":           "",
		"FIRST_TIMEOUT":       "",
		"FIRST_RATE":          "",
		"QUEUES":              "",
		"FIRST_PASSWORD":      "",
		"FIRST_PASSWORD_FILE": "",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:8080" || c.Account.Timeout != 15*time.Second || len(c.Queues) != 2 ||
		!c.Account.Password.Empty() {
		t.Errorf("empty variables changed the defaults: %+v", c)
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	const canary = "hunter2-canary"
	var c config
	err := settings.Load(&c, map[string]string{
		"STRICT":                    "perhaps",
		"SIZES":                     "1,-2",
		"RATIO":                     "half",
		"QUEUES":                    "otp",
		"KEYS":                      canary,
		"FIRST_PASSWORD":            canary,
		"FIRST_PASSWORD_FILE":       "/nowhere",
		"FIRST_TIMEOUT":             "15",
		"FIRST_RATE":                "95",
		"FIRST_RETRIES":             "many",
		"DEEP_SECOND_PASSWORD_FILE": filepath.Join(t.TempDir(), canary),
		"DEEP_SECOND_TIMEOUT":       strings.Repeat("x", 100),
	})
	if err == nil {
		t.Fatal("Load accepted invalid settings")
	}
	want := []string{
		`STRICT: must be true or false, not "perhaps"`,
		`SIZES: each entry must be a whole number in range and not negative, not "1,-2"`,
		`RATIO: must be a number, not "half"`,
		`QUEUES: entry 1 must be name=value`,
		`KEYS: entry 1 must be name=value`,
		`FIRST_PASSWORD: is set, and so is FIRST_PASSWORD_FILE; set one of them`,
		`FIRST_TIMEOUT: must be a duration such as 500ms, 15s, 2m or 1h, not "15"`,
		`FIRST_RATE: must be a rate as N/duration, such as 95/1m or 5/s, or none`,
		`FIRST_RETRIES: must be a whole number in range, not "many"`,
		`DEEP_SECOND_PASSWORD_FILE: cannot read the file: no such file or directory`,
		`DEEP_SECOND_TIMEOUT: must be a duration such as 500ms, 15s, 2m or 1h, not "` + strings.Repeat("x", 32) + `…"`,
		`NEEDED: must be set, or NEEDED_FILE must name a file that holds it`,
		`WANTED: must be set`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error quotes a secret: %v", err)
	}
	if p, ok := errors.AsType[settings.Problem](err); !ok || p.Variable != "STRICT" {
		t.Errorf("the first problem is %+v", p)
	}
}

func TestSecretFromFile(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, content, want, problem string }{
		{name: "line end", content: "s3cret\n", want: "s3cret"},
		{name: "windows line end", content: "s3cret\r\n", want: "s3cret"},
		{name: "no line end", content: "s3cret", want: "s3cret"},
		{name: "spaces and lines inside stay", content: " a\nb \n", want: " a\nb "},
		{name: "empty", content: "\n", problem: "FIRST_PASSWORD_FILE: the file is empty"},
		{
			name:    "too long",
			content: strings.Repeat("x", 64<<10+1),
			problem: "FIRST_PASSWORD_FILE: the file has more than 65536 bytes",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var c config
			err := settings.Load(&c, minimal(map[string]string{"FIRST_PASSWORD_FILE": path}))
			if tt.problem != "" {
				if err == nil || err.Error() != tt.problem {
					t.Errorf("Load = %v, want %s", err, tt.problem)
				}
				return
			}
			if err != nil || c.Account.Password.Reveal() != tt.want {
				t.Errorf("password %q (%v), want %q", c.Account.Password.Reveal(), err, tt.want)
			}
		})
	}
}

func TestFilesAreReadForSecretsOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("org=key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c config
	err := settings.Load(&c, map[string]string{
		"KEYS_FILE":      path,
		"NEEDED_FILE":    path,
		"WANTED":         "w",
		"FIRST_URL_FILE": path,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Keys["org"] != "key" || c.Needed.Reveal() != "org=key" || c.Account.URL != "https://vendor.example/" {
		t.Errorf("loaded %v, %q, %q", c.Keys, c.Needed.Reveal(), c.Account.URL)
	}
}

func TestEnviron(t *testing.T) {
	t.Parallel()
	got := settings.Environ([]string{"A=1", "B=", "C=x=y", "A=2", "=odd", "none"})
	if fmt.Sprint(got) != "map[A:2 B: C:x=y]" {
		t.Errorf("Environ = %v", got)
	}
}

func TestLoadPanicsOnInvalidStruct(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		into any
	}{
		{name: "no pointer", into: config{}},
		{name: "nil", into: (*config)(nil)},
		{name: "unexported field", into: &struct {
			hidden string `env:"HIDDEN"`
		}{hidden: "x"}},
		{name: "prefix of a pointer", into: &struct {
			V *vendor `envPrefix:"V_"`
		}{}},
		{name: "unknown option", into: &struct {
			V string `env:"V,requierd"`
		}{}},
		{name: "type without a parser", into: &struct {
			V chan int `env:"V"`
		}{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = settings.Load(tt.into, map[string]string{"V": "x"})
		})
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	if err := settings.Collect(nil, errors.Join(nil, nil)); err != nil {
		t.Errorf("Collect of nothing = %v", err)
	}
	cause := errors.New("ANNA_URL: is not set")
	var c config
	err := settings.Collect(
		settings.Load(&c, map[string]string{"NEEDED": "n"}),
		nil,
		errors.Join(cause, errors.Join(errors.New("ANNA_USER: is not set"))),
		errors.New("ANNA_URL: is not set"),
	)
	if want := "WANTED: must be set\nANNA_URL: is not set\nANNA_USER: is not set"; err == nil || err.Error() != want {
		t.Errorf("Collect = %v, want\n%s", err, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is not in the chain")
	}
}
