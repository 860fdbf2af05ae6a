package dckap_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/secret"
)

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	good := dckap.Config{Token: secret.New(token)}
	with := func(change func(*dckap.Config)) dckap.Config { c := good; change(&c); return c }
	for _, tt := range []struct {
		name string
		cfg  dckap.Config
		want string
	}{
		{"good", good, ""},
		{"every variable", with(func(c *dckap.Config) {
			c.URL = "https://dckap.example/l/"
			c.Auth = dckap.Query
			c.TokenExpiresOn = "2030-02-28"
			c.Timeout = time.Second
		}), ""},
		{"basic", dckap.Config{Auth: dckap.Basic, Username: "u@example.com", Password: secret.New("p:w")}, ""},
		{"placeholder host", with(func(c *dckap.Config) { c.URL = "http://0.0.0.0:2020/v1/dynamic/listener/" }), "DCKAP_URL: names the placeholder address 0.0.0.0; put the real host there"},
		{"plain http", with(func(c *dckap.Config) { c.URL = "http://lightning.dckap.com/" }), "DCKAP_URL: must use https; plain http is for loopback hosts, or with ALLOW_INSECURE_HTTP=true"},
		{"plain http allowed", with(func(c *dckap.Config) { c.URL, c.AllowInsecureHTTP = "http://dckap.example/", true }), ""},
		{"auth", with(func(c *dckap.Config) { c.Auth = "digest" }), "DCKAP_AUTH: must be bearer, header, query, jwt-query or basic"},
		{"no token", dckap.Config{Password: secret.New("x")}, "DCKAP_TOKEN: is not set"},
		{"login without basic", dckap.Config{Username: "u", Password: secret.New("x")}, "DCKAP_TOKEN: is not set; to log in with user and password, set DCKAP_AUTH=basic"},
		{"token with the scheme", dckap.Config{Token: secret.New("Bearer " + token)}, "DCKAP_TOKEN: must be the token alone, without spaces, control characters or the word Bearer"},
		{"token with a line end", dckap.Config{Token: secret.New(token + "\n")}, "DCKAP_TOKEN: must be the token alone, without spaces, control characters or the word Bearer"},
		{"half a login", dckap.Config{Auth: dckap.Basic}, "DCKAP_USERNAME: is not set, and DCKAP_AUTH is basic\nDCKAP_PASSWORD: is not set, and DCKAP_AUTH is basic"},
		{
			"invalid login",
			dckap.Config{Auth: dckap.Basic, Username: "canary-user-73:x", Password: secret.New(password + "\r")},
			"DCKAP_USERNAME: must not contain ':'\nDCKAP_PASSWORD: must not contain control characters, such as the end of a line",
		},
		{"date format", with(func(c *dckap.Config) { c.TokenExpiresOn = "28.02.2030" }), "DCKAP_TOKEN_EXPIRES_ON: must be a day written YYYY-MM-DD"},
		{"no such day", with(func(c *dckap.Config) { c.TokenExpiresOn = "2030-02-30" }), "DCKAP_TOKEN_EXPIRES_ON: must be a day written YYYY-MM-DD"},
		{"timeout", with(func(c *dckap.Config) { c.Timeout = -1 }), "DCKAP_TIMEOUT: must not be negative"},
		{"no pipes file", with(func(c *dckap.Config) { c.PipesFile = "testdata/none.yaml" }), "DCKAP_PIPES_FILE: cannot be read"},
		{"a directory", with(func(c *dckap.Config) { c.PipesFile = "testdata" }), "DCKAP_PIPES_FILE: cannot be read"},
		{"the example", with(func(c *dckap.Config) { c.PipesFile = "testdata/pipes.yaml" }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clientstest.Settings(t, tt.cfg.Validate(), tt.want, canaries...)
			if !tt.cfg.Configured() && tt.name != "half a login" {
				t.Error("not configured")
			}
		})
	}
	if (dckap.Config{URL: dckap.DefaultURL, Auth: dckap.Bearer, Timeout: time.Second}).Configured() {
		t.Error("defaults alone are no account")
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	cfg := dckap.Config{Token: secret.New(token), TokenExpiresOn: "2030-02-28"}
	p := cfg.Profile()
	if p.Name != "dckap" || !p.ExpiresOn.Equal(time.Date(2030, 2, 28, 0, 0, 0, 0, time.UTC)) ||
		p.Identity.Grant != "bearer" ||
		p.Identity.URL != dckap.DefaultURL ||
		p.Timeout != 15*time.Second {
		t.Errorf("%+v", p)
	}
	pipe := cfg.PipeProfile("64f1")
	if pipe.Name != "dckap-pipe-64f1" || len(pipe.Identity.Secrets) != 0 || !pipe.ExpiresOn.IsZero() {
		t.Errorf("%+v", pipe)
	}
	basic := dckap.Config{
		Auth:           dckap.Basic,
		Username:       "u",
		Password:       secret.New("p"),
		TokenExpiresOn: "2030-02-28",
	}.Profile()
	if basic.Identity.Username != "u" || !basic.ExpiresOn.IsZero() {
		t.Errorf("%+v", basic) // a password does not expire
	}
}

func TestPipesFile(t *testing.T) {
	t.Parallel()
	cfg := dckap.Config{Token: secret.New(token), PipesFile: "testdata/pipes.yaml"}
	listeners, err := cfg.Listeners()
	if err != nil || strings.Join(listeners, " ") != "0123 "+dckaptest.Listener+" 64f1c0de0002 64f1c0de0003" {
		t.Errorf("%q, %v", listeners, err)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "lists no pipes"},
		{"no pipes", "pipes:\n", "lists no pipes"},
		{"not YAML", "pipes: [\n", "line 1: sequence end token ']' not found"},
		{"a text", "pipes: x\n", "line 1: string was used where sequence is expected"},
		{"unknown field", "pipes:\n- listener: a\n  succes: {required: x}\n", `line 3: unknown field "succes"`},
		{"unknown field inside", "pipes:\n- listener: a\n  success:\n    required: x\n    equal: 1\n", `line 5: unknown field "equal"`},
		{"unknown at the top", "pipes:\n- listener: a\nmore: 1\n", `line 3: unknown field "more"`},
		{"field twice", "pipes:\n- listener: a\n  listener: b\n", `line 3: mapping key "listener" already defined at [2:3]`},
		{"two documents", "pipes:\n- listener: a\n---\nx: 1\n", "must be one YAML document, without ---"},
		{"no listener", "pipes:\n- listener: a\n- idempotent: true\n", "line 3: listener is missing"},
		{"listener null", "pipes:\n- listener:\n", "line 2: listener is missing"},
		{"listener a list", "pipes:\n- listener: [a]\n", "line 2: listener is missing"},
		{"listener invalid", "pipes:\n- listener: a/b\n", "line 2: listener must be a listener's id (letters, digits, - . _ ~) or its URL"},
		{"another host", "pipes:\n- listener: https://evil.example/v1/dynamic/listener/a\n", "line 2: listener names another host than the base URL"},
		{"listener twice", "pipes:\n- listener: a\n- listener: " + dckap.DefaultURL + "a\n", "line 3: the listener is listed twice"},
		{"idempotent not boolean", "pipes:\n- listener: a\n  idempotent: yes please\n", "line 3: has the wrong type"},
		{"both rules", "pipes:\n- listener: a\n  success: {path: a, equals: 1, required: b}\n", "line 2: success must have path and equals, or required alone"},
		{"half a rule", "pipes:\n- listener: a\n  success: {path: a}\n", "line 2: success must have path and equals, or required alone"},
		{"no rule", "pipes:\n- listener: a\n  success: {}\n", "line 2: success must have path and equals, or required alone"},
		{"path", "pipes:\n- listener: a\n  success: {required: a..b}\n", "line 2: success: a path must be written as data.items[0].id"},
		{"path with a dot at the end", "pipes:\n- listener: a\n  success: {required: a.}\n", "line 2: success: a path must not end in a dot"},
		{"path empty", "pipes:\n- listener: a\n  success: {required: $}\n", "line 2: success: a path must not be empty"},
		{"path brackets", "pipes:\n- listener: a\n  success: {required: 'a[x]'}\n", "line 2: success: a path must be written as data.items[0].id"},
		{"path quotes", "pipes:\n- listener: a\n  success: {required: \"a['x]\"}\n", "line 2: success: a path must be written as data.items[0].id"},
		{"equals a list", "pipes:\n- listener: a\n  success: {path: a, equals: [1]}\n", "line 2: equals must be text, a number as JSON writes it, true or false"},
		{"equals octal", "pipes:\n- listener: a\n  success: {path: a, equals: 0x1f}\n", "line 2: equals must be text, a number as JSON writes it, true or false"},
		{"two problems", "pipes:\n- idempotent: true\n- listener: ..\n", "line 2: listener is missing\nline 3: listener must be a listener's id (letters, digits, - . _ ~) or its URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := dckap.ParsePipes([]byte(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzPipes(f *testing.F) {
	f.Add("pipes:\n- listener: a\n  success: {path: \"$.a[0]['b']\", equals: 1.50}\n  idempotent: true\n")
	f.Add("pipes: [{listener: &x a}, {listener: *x}]")
	f.Add("pipes:\n- listener: 007\n  success: {required: a}\n")
	f.Fuzz(func(t *testing.T, text string) {
		pipes, err := dckap.ParsePipes([]byte(text))
		if err != nil {
			if pipes != nil || err.Error() == "" {
				t.Errorf("%d pipes beside the error %q", len(pipes), err)
			}
			return
		}
		if len(pipes) == 0 {
			t.Error("no pipes and no error")
		}
		for listener, pipe := range pipes {
			if listener == "" || strings.ContainsAny(listener, "/?#% ") {
				t.Errorf("%q is a listener", listener)
			}
			if pipe.Success == nil {
				continue
			}
			if len(pipe.Success.Path) == 0 {
				t.Errorf("%s: a rule without a path", listener)
			}
			if equals := pipe.Success.Equals; equals != nil && (!json.Valid(*equals) || strings.ContainsAny(string((*equals)[:1]), "[{n")) {
				t.Errorf("%s: the answer must equal %s", listener, *equals)
			}
		}
	})
}
