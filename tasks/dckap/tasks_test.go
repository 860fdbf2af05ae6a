package dckap_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/tasks"
	"errand.internal/tasks/dckap"
)

// Three pipes: one with a rule, one that is idempotent.
const (
	ruledPipe      = "64f1c0de0001"
	idempotentPipe = "64f1c0de0002"
	plainPipe      = "64f1c0de0003"
)

// start runs DCKAP's queue against a sandbox with the three pipes.
func start(t *testing.T) (*dckaptest.Sandbox, *tasks.Client) {
	t.Helper()
	vendor := dckaptest.New(dckaptest.Options{
		Pipes: map[string]dckaptest.Pipe{idempotentPipe: {}, plainPipe: {}},
	})
	f := apptest.NewWith(t, vendor)
	f.Only("dckap")
	pipes := filepath.Join(t.TempDir(), "pipes.yaml")
	text := "pipes:\n- listener: " + ruledPipe + "\n  success: {path: status, equals: success}\n" +
		"- listener: " + idempotentPipe + "\n  idempotent: true\n"
	if err := os.WriteFile(pipes, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Environ["DCKAP_PIPES_FILE"] = pipes
	f.Environ["DCKAP_TIMEOUT"] = "2s"
	return vendor, f.StartQueues(t)
}

func run(t *testing.T, c *tasks.Client, raw string) (json.RawMessage, error) {
	t.Helper()
	return apptest.Wait(t, apptest.EnqueueJSON(t, c, "dckap:dynamic:call", raw))
}

func TestGoldenPayloads(t *testing.T) {
	apptest.CheckGoldenPayloads(t, dckap.Vendor)
}

func TestGoldenRequest(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	apptest.CheckGoldenRequest(t, c, "dckap:dynamic:call", vendor.Engine, dckaptest.OpCall)
}

func TestPayloadRules(t *testing.T) {
	t.Parallel()
	apptest.CheckRules(t, []apptest.Rule{
		{
			Name: "pipe",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"64f1","query":{"a":1},"body":[1]}`,
			Want: "",
		},
		{
			Name: "pipe by URL",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"https://lightning.dckap.com/v1/dynamic/listener/64f1"}`,
			Want: "",
		},
		{
			Name: "nothing",
			Type: "dckap:dynamic:call",
			Raw:  `{}`,
			Want: "listener is required",
		},
		{
			Name: "HEAD",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"x","method":"HEAD"}`,
			Want: "method must be one of GET, POST, PUT, PATCH, DELETE",
		},
		{
			Name: "body of a GET",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"x","method":"GET","body":1}`,
			Want: "body must not be given with GET or HEAD",
		},
		{
			Name: "path",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"../x"}`,
			Want: "listener must be a listener's id (letters, digits, - . _ ~) or its URL",
		},
		{
			Name: "URL with a token",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"https://lightning.dckap.com/v1/dynamic/listener/64f1?access_token=t"}`,
			Want: "listener must not contain a query or a fragment",
		},
		{
			Name: "a token",
			Type: "dckap:dynamic:call",
			Raw:  `{"listener":"x","query":{"access_token":"t"}}`,
			Want: "query.access_token must not be given: the credential is in the worker's settings",
		},
	})
}

func TestDynamicCall(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	call := func(listener, rest string) (dckap.PipeAnswer, tasks.Outcome) {
		t.Helper()
		data, err := run(t, c, `{"listener":"`+listener+`"`+rest+`}`)
		var answer dckap.PipeAnswer
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer, apptest.Outcome(err)
	}
	if answer, ended := call(ruledPipe, `,"body":{"n":1.50}`); ended != tasks.Done || !answer.Verified ||
		answer.Status != 200 ||
		!strings.Contains(string(answer.Body), `"received":{"n":1.5`) {
		t.Errorf("%s %+v", ended, answer)
	}
	if answer, ended := call(plainPipe, ""); ended != tasks.Done || answer.Verified {
		t.Errorf("%s %+v", ended, answer)
	}
	fault := func(f sandbox.Fault) {
		f.Op = dckaptest.OpCall
		f.Times = 1
		f.AfterEffect = true
		vendor.Inject(f)
	}
	for _, tt := range []struct {
		name, listener, rest string
		fault                sandbox.Fault
		want                 tasks.Outcome
	}{
		{"dropped", plainPipe, "", sandbox.Fault{Drop: true}, tasks.Unknown},
		{"dropped, idempotent by the file", idempotentPipe, "", sandbox.Fault{Drop: true}, tasks.Done},
		{"dropped, idempotent by the payload", plainPipe, `,"idempotent":true`, sandbox.Fault{Drop: true}, tasks.Done},
		{"dropped, not idempotent by the payload", idempotentPipe, `,"idempotent":false`, sandbox.Fault{Drop: true}, tasks.Unknown},
		{"dropped read", plainPipe, `,"method":"GET"`, sandbox.Fault{Drop: true}, tasks.Done},
		{"reported", plainPipe, "", sandbox.Fault{Code: "failed"}, tasks.Failed},
		{"reported, idempotent by the file", idempotentPipe, "", sandbox.Fault{Code: "error"}, tasks.Done},
		{"rule unmet", ruledPipe, "", sandbox.Fault{Code: "half"}, tasks.Failed},
		{"web page", plainPipe, "", sandbox.Fault{HTML: true}, tasks.Unknown},
		{"502 of a gateway", plainPipe, "", sandbox.Fault{Status: 502}, tasks.Unknown},
		{"524 of a gateway", plainPipe, "", sandbox.Fault{Status: 524}, tasks.Unknown},
		{"503 of a gateway", plainPipe, "", sandbox.Fault{Status: 503}, tasks.Unknown},
		{"503 with Retry-After", plainPipe, "", sandbox.Fault{Status: 503, RetryAfter: "1"}, tasks.Done},
		{"502, idempotent by the file", idempotentPipe, "", sandbox.Fault{Status: 502}, tasks.Done},
		{"502, idempotent by the payload", plainPipe, `,"idempotent":true`, sandbox.Fault{Status: 502}, tasks.Done},
		{"303 after the work", plainPipe, "", sandbox.Fault{Status: 303}, tasks.Unknown},
		{"303, idempotent by the file", idempotentPipe, "", sandbox.Fault{Status: 303}, tasks.Invalid},
		{"no such pipe", "64f1c0de0009", "", sandbox.Fault{}, tasks.Invalid},
	} {
		if tt.listener != "64f1c0de0009" { // it is not called
			fault(tt.fault)
		}
		if _, ended := call(tt.listener, tt.rest); ended != tt.want {
			t.Errorf("%s: ended %s, want %s", tt.name, ended, tt.want)
		}
	}
	if _, err := run(t, c, `{"listener":"https://evil.example/v1/dynamic/listener/x"}`); apptest.Outcome(
		err,
	) != tasks.Invalid {
		t.Errorf("another host: %v", err)
	}
}

// A disabled pipe stops its own tasks only, until it is enabled again.
func TestDisabledPipeIsParked(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	vendor.SetPipe(ruledPipe, dckaptest.Pipe{Disabled: true})
	if _, err := tasks.Enqueue(t.Context(), c, dckap.DynamicCall{Listener: ruledPipe}); err != nil {
		t.Fatal(err)
	}
	if err := vendor.WaitAnswered(clientstest.Within(t), dckaptest.OpCall, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, c, `{"listener":"`+plainPipe+`"}`); err != nil {
		t.Errorf("another pipe: %v", err)
	}
	vendor.SetPipe(ruledPipe, dckaptest.Pipe{})
	// The next one waits out the pipe's rest and is then woken; the first comes
	// back by itself, later.
	if _, err := run(t, c, `{"listener":"`+ruledPipe+`"}`); err != nil {
		t.Errorf("after it was enabled: %v", err)
	}
}
