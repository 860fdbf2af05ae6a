package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
	"errand.internal/internal/produce"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// A dry run needs neither Redis nor credentials, and shows neither secrets nor
// personal data.
func TestDryRun(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.environ = map[string]string{
		"REDIS_URL":            "redis://127.0.0.1:1/0",
		"DCKAP_URL":            "https://dckap.example/base",
		"DANACONNECT_PASSWORD": "canary-84",
		"DCKAP_PASSWORD":       "canary-85",
		"DCKAP_TOKEN":          "canary-86",
		"DCKAP_USERNAME":       "canary-87",
		"DINERO_CLIENT_SECRET": "canary-90",
	}
	tests := []struct {
		name, file string
		args       []string
		url        string
	}{
		{
			"otp",
			"dry-otp.json",
			[]string{"danaconnect:otp:send", "--payload", otpPayload, "--usable-for=90s"},
			"POST https://api.danaconnect.com/otp/1.0/send",
		},
		{
			"verify",
			"dry-verify.json",
			[]string{"danaconnect:otp:verify", "--set=idRequest=251", "--set=otp=canary88"},
			"POST https://api.danaconnect.com/otp/1.0/verify",
		},
		{
			"pipe",
			"dry-pipe.json",
			[]string{pipeCall, "--payload", pipePayload, "--set=query.page=2", "--key=k", "--wait=1m"},
			"POST https://dckap.example/base/64f1c0de0002?page=***",
		},
		{
			"contact",
			"dry-contact.json",
			[]string{
				"dinero:contact:create",
				"--set=organizationId=123456",
				"--set=body.Name=canary-91",
				"--set=body.IsPerson:bool=true",
				"--set=body.ExternalReference=canary-92",
			},
			"POST https://api.dinero.dk/v1/123456/contacts",
		},
		{
			"free call",
			"dry-call.json",
			[]string{
				"danaconnect:api:call",
				"--set=method=GET",
				"--set=path=/rest/contacts/canary-89@example.com",
				"--set=query.name=canary-89",
			},
			"GET https://appserv.danaconnect.com/api/2.0/***?name=***",
		},
		{
			"free call of an organization",
			"dry-call-organization.json",
			[]string{
				"dinero:api:call",
				"--set=organizationId=123456",
				"--set=method=DELETE",
				"--set=path=contacts/canary%2D89",
				"--set=version=v2",
			},
			"DELETE https://api.dinero.dk/v2/123456/***",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asJSON := h.wantExit(0, append(tt.args, "--dry-run", "--json")...)
			clientstest.Golden(t, "testdata/"+tt.file, []byte(strings.TrimSpace(asJSON.stdout)))
			asText := h.wantExit(0, append(tt.args, "--dry-run")...)
			wantText(t, "stdout", asText.stdout, tt.url, "Authorization: [redacted]", "***", "budget")
			wantText(t, "stderr", asText.stderr, "nothing was enqueued or sent")
			for _, d := range []result{asJSON, asText} {
				if strings.Contains(d.stdout+d.stderr, "canary") {
					t.Errorf("shows a canary:\n%s%s", d.stdout, d.stderr)
				}
			}
		})
	}
	dinero := sandbox.Find[*dinerotest.Sandbox](h.fixture.Sandboxes)
	if n := len(h.otp.Requests("")) + len(h.dckap.Requests("")) + len(dinero.Requests("")); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// The example command of every type works, its dry run shows no secret and masks
// what is not marked clear, and its description is that of its policy.
func TestEveryTypeHasAWorkingExample(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	withSecrets := sandboxes.New("canary-").Environ("https://vendors.example")
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range all.Vendors.Types() {
		text := h.wantExit(0, "types", info.Type).stdout
		wantText(t, "types", text, info.Summary, "Example payload:")
		if len(info.Fields()) > 0 {
			wantText(t, "types", text, "FIELD")
		}
		for _, f := range info.Fields() {
			wantText(t, "types", text, f.Path, f.Kind, f.Doc)
		}
		// Run the example command as a shell splits it.
		lines := strings.Split(strings.TrimSpace(text), "\n")
		script := "enqueue() { for a; do printf '%s\\0' \"$a\"; done; }; " + lines[len(lines)-1]
		out, err := exec.CommandContext(t.Context(), shell, "-c", script).Output()
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		dry := &harness{t: t, environ: withSecrets}
		shown := dry.wantExit(0, append(args, "--dry-run")...).stdout
		if strings.Contains(shown, "canary") {
			t.Errorf("%s: a dry run shows a secret:\n%s", info.Type, shown)
		}
		for _, value := range maskedTexts(t, info) {
			if strings.Contains(shown, value) {
				t.Errorf("%s: a dry run shows %q, which is not marked clear:\n%s", info.Type, value, shown)
			}
		}
		stored := h.wantExit(0, append(args, "--json")...).report(t)
		if stored.Type != info.Type || stored.Queue != info.Example.Policy().Queue {
			t.Errorf("%s: the example command stored %+v", info.Type, stored)
		}

		var detail typeDetail
		asJSON := h.wantExit(0, "types", info.Type, "--json").stdout
		if err := json.Unmarshal([]byte(asJSON), &detail); err != nil || detail.Command != lines[len(lines)-1] ||
			len(detail.Fields) != len(info.Fields()) {
			t.Errorf("%s: %v %+v", info.Type, err, detail)
		}
		policy := info.Example.Policy()
		if detail.Repeatable != (policy.Redelivery == tasks.AtLeastOnce) ||
			detail.KeptFor != produce.FormatDuration(cmp.Or(policy.Retention, broker.DefaultRetention)) ||
			detail.KeyFor != produce.FormatDuration(cmp.Or(policy.KeyTTL, broker.DefaultKeyTTL)) {
			t.Errorf("%s: %+v, want that of %+v", info.Type, detail, policy)
		}
		runs := map[tasks.Redelivery]string{
			tasks.AtMostOnce:  "at most once: ",
			tasks.AtLeastOnce: "repeatable: ",
			tasks.Reconciled:  "to one effect: ",
		}[policy.Redelivery]
		if info.PerPayload() {
			runs = "repeatable if idempotent is true "
		}
		wantText(t, "types", text, runs)
	}
}

// maskedTexts are the texts of a type's example that are not marked clear.
func maskedTexts(t *testing.T, info tasks.Info) []string {
	t.Helper()
	raw, err := json.Marshal(info.Example)
	if err != nil {
		t.Fatal(err)
	}
	var given, masked any
	maskedRaw := []byte(payload.Mask(info.Example, raw))
	if err := errors.Join(json.Unmarshal(raw, &given), json.Unmarshal(maskedRaw, &masked)); err != nil {
		t.Fatal(err)
	}
	var hidden []string
	var walk func(given, masked any)
	walk = func(given, masked any) {
		switch given := given.(type) {
		case map[string]any:
			for name := range given {
				walk(given[name], masked.(map[string]any)[name])
			}
		case []any:
			for i := range given {
				walk(given[i], masked.([]any)[i])
			}
		case string:
			if masked == payload.Masked && len(given) > 3 { // a shorter text may occur elsewhere by chance
				hidden = append(hidden, given)
			}
		}
	}
	walk(given, masked)
	return hidden
}

func TestTypes(t *testing.T) {
	t.Parallel()
	h := &harness{t: t}
	text := h.wantExit(0, "types").stdout
	for _, info := range all.Vendors.Types() {
		wantText(t, "types", text, info.Type, info.Summary)
	}
	wantText(t, "types", text, "24h", "2m")
	var list []produce.TypeSummary
	if err := json.Unmarshal([]byte(h.wantExit(0, "types", "--json").stdout), &list); err != nil ||
		len(list) != len(all.Vendors.Types()) ||
		list[0].Budget != "2m" {
		t.Errorf("%v %+v", err, list)
	}
	golden(t, "type.json", h.wantExit(0, "types", "danaconnect:otp:send", "--json").stdout)
	wantText(
		t,
		"once",
		h.wantExit(0, "types", "danaconnect:otp:send").stdout,
		"at most once",
		"2m from its start",
		"24h after its end",
		"7 days",
	)
	wantText(t, "free", h.wantExit(0, "types", "danaconnect:api:call").stdout, "repeatable if idempotent is true")
	wantText(t, "reconciled", h.wantExit(0, "types", "dinero:invoice:create").stdout, "to one effect", "90 days")
}

// The description of a type whose tasks may always be repeated, and are kept for a
// short time. Not every list of vendors has one.
func TestDescriptionOfARepeatableType(t *testing.T) {
	t.Parallel()
	var stdout strings.Builder
	inv := &invocation{stdout: &output{w: &stdout}}
	inv.printType(&typeDetail{TypeDetail: produce.TypeDetail{KeptFor: "5m", KeyFor: "168h"}, redelivery: tasks.AtLeastOnce})
	wantText(t, "repeatable", stdout.String(), "repeatable: if an attempt may have happened, it is repeated", "5m after its end")
}

// The handwritten page names every flag and exit code.
func TestHelp(t *testing.T) {
	t.Parallel()
	h := &harness{t: t}
	for _, args := range [][]string{{"--help"}, {"-h"}, {"enqueue", "--help"}, {pipeCall, "--help"}} {
		d := h.wantExit(0, args...)
		if d.stdout != mainHelp || d.stderr != "" {
			t.Errorf("%q: %+v", args, d)
		}
	}
	parser, err := newParser(&commands{}, &invocation{stdout: &output{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range strings.Fields(wordsOf(parser.Model.Node).Flags) {
		wantText(t, "the help", mainHelp, flag)
	}
	codes := []int{
		exitOK,
		exitUnexpected,
		exitUsage,
		exitRefused,
		exitRedis,
		exitParked,
		exitRowsRefused,
		exitTimeout,
		exitNoTask,
		exitInterrupted,
	}
	for _, o := range produce.Outcomes {
		codes = append(codes, o.ExitCode)
	}
	for _, code := range codes {
		wantText(t, "the help", mainHelp, fmt.Sprintf(" %d ", code))
	}
	for command, part := range map[string]string{
		"bulk":   "--max-errors=N|N%",
		"types":  "[<type>]",
		"status": "[<id>]",
		"cancel": "<id>",
	} {
		wantText(t, "stdout", h.wantExit(0, command, "--help").stdout, part)
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{"of our code", "canary-89", "panic of type string"},
		{"of the Go runtime", func() (value any) {
			defer func() { value = recover() }()
			var none []int
			return none[1]
		}(), "index out of range"},
	} {
		if got := (&produce.PanicError{Value: tt.value}).Error(); !strings.Contains(got, tt.want) || strings.Contains(got, "canary") {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	var stderr strings.Builder
	for _, args := range [][]string{{pipeCall, "--payload=-"}, {"bulk", "-"}} {
		if code := run(t.Context(), args, nil, nil, &stderr, &stderr); code != 1 {
			t.Errorf("%q: exit code %d, want 1", args, code)
		}
	}
	wantText(t, "stderr", stderr.String(), "internal error, please report it: runtime error: invalid memory address")
}

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	t.Parallel()
	h := &harness{t: t}
	d := h.wantExit(2, "x\x1b[2J\x07y")
	if strings.ContainsAny(d.stderr, "\x1b\x07") {
		t.Errorf("stderr %q", d.stderr)
	}
}
