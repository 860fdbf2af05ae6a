package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"errand.internal/internal/httpapi"
	"errand.internal/internal/sandboxes"
	"errand.internal/internal/settings"
	"errand.internal/tasks/all"
)

const lineEnd = "canary\nline"

// wrongValues has a wrong value of every setting. Those of free texts hold a line
// end, because they have no other rule.
var wrongValues = map[string]string{
	"REDIS_URL":                          "redis://127.0.0.1/x",
	"HTTP_ADDR":                          "8080",
	"MONITORING_USER":                    "a:b",
	"MONITORING_PASSWORD":                lineEnd,
	"MONITORING_READ_ONLY":               "perhaps",
	"WORKER_QUEUES":                      "nosuch=1",
	"SHUTDOWN_GRACE":                     "25",
	"QUEUE_LIMIT":                        "0",
	"ENCRYPTION_KEYS":                    "canary",
	"ENCRYPTION_REQUIRED":                "perhaps",
	"LOG_LEVEL":                          "loud",
	"LOG_FORMAT":                         "xml",
	"SCHEDULE_FILE":                      "nowhere.yaml",
	"OUTBOUND_PROXY":                     "https://canary:canary@proxy:1",
	"ALLOW_INSECURE_HTTP":                "perhaps",
	"EVENTS_URL":                         "ftp://127.0.0.1/",
	"EVENTS_SECRET":                      "canary",
	"API_ADDR":                           "8080",
	"API_KEYS":                           "canary",
	"API_TLS_CERT":                       "nowhere.pem",
	"API_TLS_KEY":                        "nowhere.pem",
	"API_RATE":                           "fast",
	"OTEL_EXPORTER_OTLP_ENDPOINT":        "127.0.0.1:4317",
	"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "127.0.0.1:4317",
	"OTEL_EXPORTER_OTLP_HEADERS":         "canary",
	"OTEL_EXPORTER_OTLP_PROTOCOL":        "grpc",
	"OTEL_TRACES_EXPORTER":               "canary",
	"OTEL_SDK_DISABLED":                  "perhaps",
	"DANACONNECT_USERNAME":               "a:b",
	"DANACONNECT_COMPANY":                "a:b",
	"DANACONNECT_PASSWORD":               lineEnd,
	"DANACONNECT_OTP_URL":                "ftp://127.0.0.1/",
	"DANACONNECT_CONTACTS_URL":           "ftp://127.0.0.1/",
	"DANACONNECT_TIMEOUT":                "15",
	"DANACONNECT_RATE":                   "fast",
	"DANACONNECT_BREAKER":                "often",
	"DANACONNECT_CONCURRENCY":            "0",
	"OTP_RECIPIENT_FIELDS":               "a,,b",
	"OTP_RECIPIENT_LIMIT":                "5",
	"OTP_ACCOUNT_LIMIT":                  "5",
	"DANACONNECT_CLIENT_ID":              "a:b",
	"DANACONNECT_CLIENT_SECRET":          lineEnd,
	"DANACONNECT_TOKEN_URL":              "ftp://127.0.0.1/",
	"DANACONNECT_API_URL":                "ftp://127.0.0.1/",
	"ANNA_URL":                           "ftp://127.0.0.1/",
	"ANNA_COMPANY_HASH":                  lineEnd,
	"ANNA_USER":                          lineEnd,
	"ANNA_PASSWORD":                      lineEnd,
	"ANNA_TIME_ZONE":                     "Nowhere/Town",
	"ANNA_TIMEOUT":                       "-1s",
	"ANNA_RATE":                          "fast",
	"ANNA_BREAKER":                       "often",
	"ANNA_CONCURRENCY":                   "0",
	"ANNA_ALREADY_INACTIVE":              "a||b",
	"DCKAP_URL":                          "ftp://127.0.0.1/",
	"DCKAP_AUTH":                         "oauth",
	"DCKAP_TOKEN":                        lineEnd,
	"DCKAP_TOKEN_EXPIRES_ON":             "soon",
	"DCKAP_USERNAME":                     "a:b",
	"DCKAP_PASSWORD":                     lineEnd,
	"DCKAP_PIPES_FILE":                   "nowhere.yaml",
	"DCKAP_TIMEOUT":                      "-1s",
	"DCKAP_RATE":                         "fast",
	"DCKAP_BREAKER":                      "often",
	"DCKAP_CONCURRENCY":                  "0",
	"DINERO_CLIENT_ID":                   "a:b",
	"DINERO_CLIENT_SECRET":               lineEnd,
	"DINERO_API_KEYS":                    "canary",
	"DINERO_TOKEN_URL":                   "ftp://127.0.0.1/",
	"DINERO_API_URL":                     "ftp://127.0.0.1/",
	"DINERO_TIMEOUT":                     "-1s",
	"DINERO_RATE":                        "fast",
	"DINERO_BREAKER":                     "often",
	"DINERO_CONCURRENCY":                 "0",
}

// sandboxAccounts has an account of each vendor.
var sandboxAccounts = sync.OnceValue(func() map[string]string {
	return sandboxes.New("").Environ("http://127.0.0.1:1")
})

// complete has valid settings in which every variable is read: an account of each
// vendor, a receiver of events and a login of the web UI. Those of with come on top.
func complete(with map[string]string) map[string]string {
	environ := maps.Clone(sandboxAccounts())
	environ["EVENTS_URL"] = "http://127.0.0.1:1/"
	environ["EVENTS_SECRET"] = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	environ["API_ADDR"] = "127.0.0.1:0"
	environ["API_KEYS"] = httpapi.Entry("shop", "a key")
	environ["MONITORING_USER"] = "u"
	environ["MONITORING_PASSWORD"] = "twelve or more"
	for name := range with {
		if name == "DCKAP_USERNAME" || name == "DCKAP_PASSWORD" {
			delete(environ, "DCKAP_TOKEN")
			environ["DCKAP_AUTH"] = "basic"
			environ["DCKAP_USERNAME"] = "u"
			environ["DCKAP_PASSWORD"] = "p"
		}
	}
	maps.Copy(environ, with)
	return environ
}

// problems returns the lines of Load's error.
func problems(environ map[string]string) []string {
	_, err := Load(environ)
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// variables lists all settings of a worker.
func variables() []settings.Variable {
	list := []any{Config{}}
	for _, v := range all.Vendors {
		for _, a := range v.Accounts {
			list = append(list, a.Settings())
		}
	}
	return settings.Describe(list...)
}

// Every setting has a rule: a wrong value is refused before the worker starts, in
// one line that names the variable and quotes no secret.
func TestEverySettingHasARule(t *testing.T) {
	t.Parallel()
	if got := problems(complete(nil)); got != nil {
		t.Fatalf("the valid settings have problems: %q", got)
	}
	var names []string
	for _, v := range variables() {
		names = append(names, v.Name)
		wrong, known := wrongValues[v.Name]
		if !known {
			t.Errorf("%s: add a wrong value of it to wrongValues", v.Name)
			continue
		}
		got := problems(complete(map[string]string{v.Name: wrong}))
		if len(got) != 1 || !strings.HasPrefix(got[0], v.Name+": ") || strings.Contains(got[0], "canary") {
			t.Errorf("%s=%q: problems %q, want one line about it", v.Name, wrong, got)
		}
	}
	for name := range wrongValues {
		if !slices.Contains(names, name) {
			t.Errorf("wrongValues has %s, which is no setting", name)
		}
	}
}

// What nobody sees in a text or a secret is refused, whether the variable holds it
// or the secret's file, and so is a text that is not UTF-8.
func TestNothingInvisibleInASetting(t *testing.T) {
	t.Parallel()
	invisible := map[string]string{
		"byte order mark":  "\ufeff",
		"zero-width space": "\u200b",
		"no-break space":   "\u00a0",
		"soft hyphen":      "\u00ad",
		"right-to-left":    "\u202e",
		"zero byte":        "\x00",
		"Latin-1":          "\xe9",
	}
	for _, v := range variables() {
		if v.Name == "WORKER_QUEUES" {
			continue // it drops spaces of all kinds
		}
		for what, text := range invisible {
			valid := complete(nil)[v.Name]
			environ := complete(map[string]string{v.Name: text + valid})
			if got := problems(environ); len(got) == 0 || !strings.HasPrefix(got[0], v.Name+": ") {
				t.Errorf("%s with a %s: problems %q", v.Name, what, got)
			}
			if !v.Secret {
				continue
			}
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(text+"canary"+valid+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			environ = complete(map[string]string{v.Name + "_FILE": file})
			delete(environ, v.Name)
			got := problems(environ)
			if len(got) != 1 || !strings.HasPrefix(got[0], v.Name+"_FILE: ") || strings.Contains(got[0], "canary") {
				t.Errorf("a file of %s with a %s: problems %q, want one line", v.Name, what, got)
			}
		}
	}
}

// A variable that cannot be read is named once, and no check speaks of the value
// that it does not have.
func TestAnUnreadableSettingIsNamedOnce(t *testing.T) {
	t.Parallel()
	for _, v := range variables() {
		if !v.Secret {
			continue
		}
		environ := complete(map[string]string{v.Name + "_FILE": filepath.Join(t.TempDir(), "none")})
		if strings.HasPrefix(v.Name, "DCKAP_PASSWORD") {
			environ = complete(map[string]string{"DCKAP_USERNAME": "u", v.Name + "_FILE": "/nowhere"})
		}
		delete(environ, v.Name)
		if v.Name == "ENCRYPTION_KEYS" {
			environ["ENCRYPTION_REQUIRED"] = "true"
		}
		want := []string{v.Name + "_FILE: cannot read the file: no such file or directory"}
		if got := problems(environ); !slices.Equal(got, want) {
			t.Errorf("problems %q, want %q", got, want)
		}
	}
	for name, environ := range map[string]map[string]string{
		"no unit":       complete(map[string]string{"SHUTDOWN_GRACE": "25"}),
		"only a token":  {"DCKAP_TOKEN_FILE": "/nowhere"},
		"only a target": {"EVENTS_URL_FILE": "/nowhere"},
	} {
		if got := problems(environ); len(got) != 1 {
			t.Errorf("%s: problems %q, want one", name, got)
		}
	}
}

func ExampleLoad() {
	_, err := Load(complete(map[string]string{
		"HTTP_ADDR":      "http://127.0.0.1:8080",
		"SHUTDOWN_GRACE": "25",
		"DINERO_RATE":    "95",
	}))
	fmt.Println(err)
	// Output:
	// SHUTDOWN_GRACE: must be a duration such as 500ms, 15s, 2m or 1h, not "25"
	// DINERO_RATE: must be a rate as N/duration, such as 95/1m or 5/s, or none
	// HTTP_ADDR: must be host:port, such as 127.0.0.1:8080 or :8080
}
