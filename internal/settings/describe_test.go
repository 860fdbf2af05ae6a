package settings_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

type described struct {
	Addr     string        `env:"ADDR" envDefault:"127.0.0.1:8080" doc:"Where to listen."`
	Password secret.String `env:"PASSWORD,required" doc:"Of the account."`
	Timeout  time.Duration `env:"TIMEOUT" envDefault:"15s"`
	Note     string        `env:"NOTE" envDefault:"it's a note"`
	File     string        `env:"FILE" doc:"A long text about a file, so long that it does not fit on one line of this width and has to go on in the next one."`
}

type alsoTimeout struct {
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"One call."`
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	got := settings.Describe(struct {
		D described `envPrefix:"X_"`
	}{}, &struct {
		A alsoTimeout `envPrefix:"X_"`
	}{})
	want := []settings.Variable{
		{Name: "X_ADDR", Default: "127.0.0.1:8080", Doc: "Where to listen."},
		{
			Name:     "X_PASSWORD",
			Doc:      "Of the account.",
			Secret:   true,
			Required: true,
		},
		{Name: "X_TIMEOUT", Default: "15s", Doc: "One call."},
		{Name: "X_NOTE", Default: "it's a note"},
		{Name: "X_FILE", Doc: got[4].Doc},
	}
	if !slices.Equal(got, want) {
		t.Errorf("Describe:\n got %+v\nwant %+v", got, want)
	}
}

func TestDescribePanicsOnTwoDefaults(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	settings.Describe(alsoTimeout{}, struct {
		Timeout time.Duration `env:"TIMEOUT" envDefault:"20s"`
	}{})
}

func TestExample(t *testing.T) {
	t.Parallel()
	got := settings.Example([]settings.Section{
		{Title: "First", Doc: "What it is.", Variables: settings.Describe(described{})},
		{Title: "Second", Variables: settings.Describe(alsoTimeout{}, struct {
			User string `env:"USER_NAME"`
		}{})},
	})
	const want = `# --- First ---
# What it is.

# Where to listen.
ADDR=127.0.0.1:8080

# Of the account. Required. Secret: PASSWORD_FILE may name a file that holds it.
#PASSWORD=

TIMEOUT=15s

NOTE="it's a note"

# A long text about a file, so long that it does not fit on one line of this width and has to go
# on in the next one.
#FILE=

# --- Second ---

#USER_NAME=
`
	if got != want {
		t.Errorf("Example:\n%s\nwant:\n%s", got, want)
	}
}

// TestExampleLoads reads the generated file as a shell would: unedited, it must
// yield the defaults.
func TestExampleLoads(t *testing.T) {
	t.Parallel()
	text := settings.Example([]settings.Section{{Title: "All", Variables: settings.Describe(config{})}})
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	var c, defaults config
	if err := settings.Load(&c, minimal(settings.Environ(lines))); err != nil {
		t.Fatal(err)
	}
	if err := settings.Load(&defaults, minimal(nil)); err != nil {
		t.Fatal(err)
	}
	if c.Addr != defaults.Addr || c.Account != defaults.Account || c.Nested != defaults.Nested ||
		len(c.Queues) != len(defaults.Queues) {
		t.Errorf("the example loads as\n%+v\nand without it\n%+v", c, defaults)
	}
}
