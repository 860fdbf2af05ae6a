package dckap_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/secret"
)

// canaries are values that must not appear in an error.
const (
	token    = "canary-token-71"
	jwt      = "canary.jwt.72"
	username = "canary-user-73"
	password = "canary-password-74"
)

var canaries = []string{token, jwt, username, password, "canary-body-75"}

// fixture is a client with its sandbox.
type fixture struct {
	*dckaptest.Sandbox
	client           *dckap.Client
	credential, pipe *clientstest.Gate
	pipes            []string // listeners whose breakers were requested
}

func options() dckaptest.Options {
	return dckaptest.Options{
		Token:    token,
		JWT:      jwt,
		Username: username,
		Password: password,
	}
}

// config returns an account that sends its credential as auth says.
func config(base string, auth dckap.Auth, pipesFile string) dckap.Config {
	cfg := dckap.Config{URL: base + dckaptest.ListenerPath, Auth: auth, PipesFile: pipesFile}
	switch auth {
	case dckap.Basic:
		cfg.Username, cfg.Password = username, secret.New(password)
	case dckap.JWTQuery:
		cfg.Token = secret.New(jwt)
	default:
		cfg.Token = secret.New(token)
	}
	return cfg
}

func start(t *testing.T, auth dckap.Auth, pipes string) *fixture {
	t.Helper()
	f := &fixture{
		Sandbox:    dckaptest.New(options()),
		credential: &clientstest.Gate{Name: "credential"},
		pipe:       &clientstest.Gate{Name: "pipe"},
	}
	f.connect(t, config(clientstest.Serve(t, f.Sandbox, dckaptest.Mount), auth, pipesFile(t, pipes)), clients.Timeouts{})
	return f
}

func (f *fixture) connect(t *testing.T, cfg dckap.Config, timeouts clients.Timeouts) {
	t.Helper()
	f.connectThrough(t, cfg, clients.NewCaller(dckap.Vendor, timeouts, nil, nil))
}

func (f *fixture) connectThrough(t *testing.T, cfg dckap.Config, caller *clients.Caller) {
	t.Helper()
	var err error
	f.client, err = dckap.New(cfg, f.credential, func(listener string) admission.Gate {
		f.pipes = append(f.pipes, listener)
		return f.pipe
	}, caller)
	if err != nil {
		t.Fatal(err)
	}
}

// pipesFile writes a pipes file and returns its path; "" if text is empty.
func pipesFile(t *testing.T, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	file := filepath.Join(t.TempDir(), "pipes.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// withRule is a pipes file in which the sandbox's pipe has a success rule.
const withRule = "pipes:\n  - listener: " + dckaptest.Listener + "\n    success: {required: data.id}\n"

// order returns a call of the sandbox's pipe.
func order() dckap.Call {
	return dckap.Call{Listener: dckaptest.Listener, Body: json.RawMessage(`{"order":"canary-body-75"}`)}
}

func wantKind(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	return clientstest.Fault(t, err, want, canaries...)
}
