package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/payload"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every error in the input names the field and the rule, and nothing is stored in
// Redis.
func TestBadInput(t *testing.T) {
	t.Parallel()
	const (
		send   = "danaconnect:otp:send"
		verify = "danaconnect:otp:verify"
	)
	huge := `{"idRequest":"1","otp":"` + strings.Repeat("x", payload.MaxSize) + `"}`
	tests := []struct {
		name  string
		args  []string
		stdin string
		code  int
		lines []string // of stderr, each without "enqueue: "
	}{
		{"nothing", nil, "", 2, []string{`expected "<type>"; see enqueue --help`}},
		{
			"misspelt type",
			[]string{"danaconect:otp:sned"},
			"",
			2,
			[]string{`there is no task type "danaconect:otp:sned"; did you mean danaconnect:otp:send?`},
		},
		{
			"part of a type",
			[]string{"otp:verify"},
			"",
			2,
			[]string{`there is no task type "otp:verify"; did you mean danaconnect:otp:verify?`},
		},
		{"no similar type", []string{"x"}, "", 2, []string{`there is no task type "x"; 'enqueue types' lists them`}},
		{
			"unknown flag",
			[]string{send, "--notfy"},
			"",
			2,
			[]string{`unknown flag --notfy, did you mean "--notify"?; see enqueue --help`},
		},
		{"too many arguments", []string{send, "x"}, "", 2, []string{"unexpected argument x; see enqueue --help"}},
		{
			"empty key",
			[]string{send, "--key="},
			"",
			2,
			[]string{"--key must not be empty; omit it to enqueue without a key"},
		},
		{
			"in and at",
			[]string{send, "--in=1m", "--at=2030-01-01T00:00:00Z"},
			"",
			2,
			[]string{"--in and --at can't be used together; see enqueue --help"},
		},
		{"negative in", []string{send, "--in=-1m"}, "", 2, []string{"--in must not be negative"}},
		{"negative in, apart", []string{send, "--in", "-5m"}, "", 2, []string{"--in must not be negative"}},
		{"negative wait, apart", []string{send, "--wait", "-5s"}, "", 2, []string{"--wait must be positive"}},
		{
			"usable for longer than a duration can be",
			[]string{send, "--usable-for", "9999999h"},
			"",
			2,
			[]string{"--usable-for: is too long; it must be within ten years; see enqueue --help"},
		},
		{
			"in longer than a duration can be",
			[]string{send, "--in=999999999999999999999m"},
			"",
			2,
			[]string{"--in: is too long; it must be within ten years; see enqueue --help"},
		},
		{
			"bulk with a negative limit",
			[]string{"bulk", "-", "--max-errors", "-5"},
			"",
			2,
			[]string{"--max-errors: must be a number of rows, such as 20, or a percentage, such as 5%; see enqueue --help"},
		},
		{"in too far ahead", []string{send, "--in=100000h"}, "", 2, []string{"--in must be within ten years"}},
		{
			"in without unit",
			[]string{send, "--in=10"},
			"",
			2,
			[]string{`--in: must be a duration, such as 90s, 10m or 1h30m; see enqueue --help`},
		},
		{
			"at is not a time",
			[]string{send, "--at=tomorrow"},
			"",
			2,
			[]string{
				"--at: must be an RFC 3339 time, such as 2026-12-31T09:00:00Z or 2026-12-31T09:00:00-03:00; see enqueue --help",
			},
		},
		{"at is past", []string{send, "--at=2020-01-01T00:00:00Z"}, "", 2, []string{"--at must not be in the past"}},
		{"at too far ahead", []string{send, "--at=9999-01-01T00:00:00Z"}, "", 2, []string{"--at must be within ten years"}},
		{"usable for no time", []string{send, "--usable-for=0s"}, "", 2, []string{"--usable-for must be positive"}},
		{
			"usable for too long",
			[]string{send, "--usable-for=100000h"},
			"",
			2,
			[]string{"--usable-for must be within ten years"},
		},
		{
			"several flags",
			[]string{send, "--wait=0s", "--usable-for=-1s"},
			"",
			2,
			[]string{"--usable-for must be positive", "--wait must be positive"},
		},
		{"set without value", []string{send, "--set=length"}, "", 2, []string{"--set must be path=value"}},
		{"set without path", []string{send, "--set==1"}, "", 2, []string{"--set must be path=value"}},
		{
			"no such file",
			[]string{send, "--payload=@/nonexistent/p.json"},
			"",
			2,
			[]string{"--payload: open /nonexistent/p.json: no such file or directory"},
		},
		{
			"an internal type",
			[]string{"event:deliver", "--payload", `{"id":"x"}`},
			"",
			3,
			[]string{"event:deliver is internal: Errand enqueues it itself, nobody else can"},
		},
		{
			"types of an internal type",
			[]string{"types", "event:deliver"},
			"",
			2,
			[]string{"event:deliver is internal: Errand enqueues it itself, nobody else can"},
		},
		{
			"types of an unknown type",
			[]string{"types", "dckap:dynamic:clal"},
			"",
			2,
			[]string{`there is no task type "dckap:dynamic:clal"; did you mean dckap:dynamic:call?`},
		},

		{
			"everything missing",
			[]string{send},
			"",
			3,
			[]string{"idConversation is required", "length is required", "type is required", "values is required"},
		},
		{
			"every kind of problem",
			[]string{
				send,
				"--payload",
				`{"idConversation":"x","values":{},"type":3,"Length":6,"secondsExpiration":null}`,
			},
			"",
			3,
			[]string{
				"Length is unknown; did you mean length?",
				"idConversation must be an integer",
				"length is required",
				"secondsExpiration must not be null; leave it out",
				"type must be at most 2",
				"values must have at least 1 entry",
			},
		},
		{
			"not JSON",
			[]string{send, "--payload", "{x"},
			"",
			3,
			[]string{"the payload is not JSON: it ends early or has a syntax error at byte 2"},
		},
		{
			"not JSON, with set",
			[]string{send, "--payload", "{x", "--set=length=6"},
			"",
			3,
			[]string{"the payload is not JSON: it ends early or has a syntax error at byte 2"},
		},
		{
			"no object",
			[]string{send, "--payload", "[]", "--set=length=6"},
			"",
			3,
			[]string{"the payload must be an object"},
		},
		{
			"null",
			[]string{verify, "--payload", "null", "--set=otp=1"},
			"",
			3,
			[]string{"the payload must be an object"},
		},
		{"empty stdin", []string{send, "--payload=-"}, "", 3, []string{"the payload is not JSON: it is empty"}},
		{
			"given twice",
			[]string{verify, "--payload", `{"idRequest":"1","otp":"a","otp":"b"}`},
			"",
			3,
			[]string{"otp is given twice"},
		},
		{
			"given twice, with set",
			[]string{
				"dinero:contact:create",
				"--payload",
				`{"organizationId":"1","body":{"Name":"A","Name":"B"}}`,
				"--set=body.IsPerson=true",
			},
			"",
			3,
			[]string{"body.Name is given twice"},
		},
		{
			"set below a text",
			[]string{verify, "--set=otp=u", "--set=otp.x=y"},
			"",
			3,
			[]string{"--set otp.x: otp is not an object"},
		},
		{
			"set an empty path",
			[]string{"dinero:contact:create", "--set=body..x=y"},
			"",
			3,
			[]string{"--set body..x: the path has an empty part"},
		},
		{
			"set a value of the wrong kind",
			[]string{"danaconnect:otp:send", "--payload", otpPayload, "--set=length=six"},
			"",
			3,
			[]string{"length must be an integer"},
		},
		{
			"rule across fields",
			[]string{pipeCall, "--set=listener=u", "--set=method=GET", "--set=body.order=1"},
			"",
			3,
			[]string{"body must not be given with GET or HEAD"},
		},
		{
			"too large on stdin",
			[]string{verify, "--payload=-"},
			huge,
			3,
			[]string{"the payload has more than the 524288 bytes allowed"},
		},
		{
			"too large argument",
			[]string{verify, "--payload", huge},
			"",
			3,
			[]string{"the payload has 524314 bytes, at most 524288 are allowed"},
		},
		{
			"Latin-1",
			[]string{verify, "--payload=-"},
			"{\"otp\":\"Jos\xe9\"}",
			3,
			[]string{"the payload must be UTF-8"},
		},
		{
			"Latin-1 in set",
			[]string{verify, "--set=otp=Jos\xe9"},
			"",
			3,
			[]string{"argument 2 must be UTF-8"},
		},
		{
			"dry run of a bad payload",
			[]string{verify, "--set=otp=1", "--dry-run"},
			"",
			3,
			[]string{"idRequest is required"},
		},

		{"bulk without a file", []string{"bulk"}, "", 2, []string{"FILE is missing; see enqueue --help"}},
		{
			"bulk of a missing file",
			[]string{"bulk", "/nonexistent/rows.jsonl"},
			"",
			2,
			[]string{"open /nonexistent/rows.jsonl: no such file or directory"},
		},
		{"bulk of a directory", []string{"bulk", "testdata"}, "", 2, []string{"testdata is a directory"}},
		{
			"bulk with a bad rate",
			[]string{"bulk", "-", "--rate=fast"},
			"",
			2,
			[]string{"--rate: must be a rate as N/duration, such as 95/1m or 5/s, or none; see enqueue --help"},
		},
		{
			"bulk with a bad limit",
			[]string{"bulk", "-", "--max-errors=101%"},
			"",
			2,
			[]string{"--max-errors: must be a number of rows, such as 20, or a percentage, such as 5%; see enqueue --help"},
		},
		{
			"bulk of an unknown type",
			[]string{"bulk", "-", "--type=dckap:dynamic:coll"},
			"",
			2,
			[]string{`there is no task type "dckap:dynamic:coll"; did you mean dckap:dynamic:call?`},
		},
		{
			"bulk of CSV without type",
			[]string{"bulk", "-"},
			"listener\nu1\n",
			2,
			[]string{
				"0 rows: 0 enqueued, 0 duplicates, 0 refused",
				"CSV needs --type; JSONL has one object per line",
			},
		},
		{
			"bulk with a bad header",
			[]string{"bulk", "-", "--type=danaconnect:otp:verify"},
			"otp,OTP,otp,,otp.x,canary@example.com\nu1\n",
			3,
			[]string{
				"0 rows: 0 enqueued, 0 duplicates, 0 refused",
				"the header row: column 2 (OTP) is not a field of danaconnect:otp:verify; " +
					"column 3 (otp) appears twice; column 4 has no name; " +
					"column 5 (otp.x) is not a field of danaconnect:otp:verify; " +
					"column 6 is not a field of danaconnect:otp:verify",
			},
		},
	}
	h := newHarness(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := h.runWith(context.Background(), strings.NewReader(tt.stdin), tt.args...)
			if d.code != tt.code || d.stdout != "" {
				t.Errorf("exit code %d, want %d; stdout %q", d.code, tt.code, d.stdout)
			}
			want := ""
			for _, line := range tt.lines {
				want += "enqueue: " + line + "\n"
			}
			if d.stderr != want {
				t.Errorf("stderr\n%swant\n%s", d.stderr, want)
			}
			h.wantNothingStored()
		})
	}
}

func TestKeyWithAnotherPayload(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	first := h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "k", "--json").report(t)
	d := h.wantExit(3, pipeCall, "--set", "listener=another", "--key", "k")
	wantText(t, "stderr", d.stderr, "the key is taken by a task with another payload")
	// The same payload may be formatted differently, and each type has its own keys.
	reformatted := `{ "method":"", "idempotent":true, "body" : {"order" : "` + order + `"}, "listener" : "` +
		dckaptest.DemoOrders + `"}`
	second := h.wantExit(0, pipeCall, "--payload", reformatted, "--key", "k", "--json").report(t)
	if second.ID != first.ID || !second.Duplicate {
		t.Errorf("got %+v, want a duplicate of %s", second, first.ID)
	}
	other := h.wantExit(0, "danaconnect:otp:send", "--payload", otpPayload, "--key", "k", "--json").report(t)
	if other.Duplicate {
		t.Errorf("got %+v", other)
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	tests := []struct {
		name    string
		environ map[string]string
		args    []string
		want    []string
	}{
		{
			"all at once",
			map[string]string{"REDIS_URL": "http://canary-password@x", "ENCRYPTION_KEYS": "canary-key"},
			[]string{"status", "otp-a"},
			[]string{"REDIS_URL: must begin with", "ENCRYPTION_KEYS: entry 1"},
		},
		{
			"keys required",
			map[string]string{"ENCRYPTION_REQUIRED": "true"},
			[]string{pipeCall, "--payload", pipePayload},
			[]string{"ENCRYPTION_KEYS: must be set"},
		},
		{
			"a fault of the map beside one of a value",
			map[string]string{"REDIS_URL": "http://x", "ENCRYPTION_REQUIRED": "perhaps", "ENCRYPTION_KEYS": "canary-key"},
			[]string{"status", "otp-a"},
			[]string{"REDIS_URL: must begin with", "ENCRYPTION_REQUIRED: must be true or false", "ENCRYPTION_KEYS: entry 1"},
		},
		{
			"no such database",
			map[string]string{"REDIS_URL": strings.TrimSuffix(h.redis.URL(), "/0") + "/99"},
			[]string{pipeCall, "--payload", pipePayload},
			[]string{"REDIS_URL: names a database that this Redis does not have"},
		},
		{
			"keys required for bulk",
			map[string]string{"ENCRYPTION_REQUIRED": "true"},
			[]string{"bulk", "-"},
			[]string{"ENCRYPTION_KEYS: must be set"},
		},
		{
			"file missing",
			map[string]string{"ENCRYPTION_KEYS_FILE": "/nonexistent/keys"},
			[]string{pipeCall, "--payload", pipePayload},
			[]string{"ENCRYPTION_KEYS_FILE"},
		},
		{
			"dry run",
			map[string]string{"DCKAP_TIMEOUT": "soon"},
			[]string{pipeCall, "--payload", pipePayload, "--dry-run"},
			[]string{"DCKAP_TIMEOUT"},
		},
		{
			"dry run, found when the account is opened",
			map[string]string{"DCKAP_URL": "canary://nowhere"},
			[]string{pipeCall, "--payload", pipePayload, "--dry-run"},
			[]string{"DCKAP_URL"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := &harness{t: t, environ: map[string]string{"REDIS_URL": h.redis.URL()}}
			for k, v := range tt.environ {
				bad.environ[k] = v
			}
			d := bad.wantExit(2, tt.args...)
			wantText(t, "stderr", d.stderr, tt.want...)
			if strings.Contains(d.stderr, "canary") || d.stdout != "" {
				t.Errorf("leaks: %+v", d)
			}
		})
	}
	h.wantNothingStored()
}

// Every way to pass a payload, and every flag, reaches the vendor.
func TestEveryPayloadSourceReachesTheVendor(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.startWorker()
	file := writeFile(t, "p.json", pipePayload)
	redisFile := writeFile(t, "url", h.redis.URL()+"\n")
	wait := []string{"--wait", waitTimeout, "--notify", "--usable-for", "1h"}
	soon := time.Now().Add(200 * time.Millisecond).Format(time.RFC3339Nano)
	past := time.Now().Add(-10 * time.Second).Format(time.RFC3339)
	for i, args := range [][]string{
		{pipeCall, "--payload", pipePayload},
		{pipeCall, "--payload", "@" + file},
		{pipeCall, "--set", "listener=" + dckaptest.DemoOrders, "--set", "body.order=" + order, "--set", "idempotent=true"},
		{
			pipeCall, "--payload", `{"listener":"other","body":{"order":"other"}}`,
			"--set", "listener=" + dckaptest.DemoOrders, "--set", "body.order=x", "--set", "body.order=" + order,
		},
		{pipeCall, "--payload", pipePayload, "--at", past},
		{pipeCall, "--payload", pipePayload, "--at", soon},
		{pipeCall, "--payload", pipePayload, "--in", "100ms"},
		{"enqueue", pipeCall, "--payload", pipePayload, "--in", "0s"},
	} {
		wantText(t, "stdout", h.wantExit(0, append(args, wait...)...).stdout, "done", pipeCall)
		if n := h.orders(); n != i+1 {
			t.Errorf("%q: %d calls with the order, want %d", args, n, i+1)
		}
	}
	h.environ = map[string]string{"REDIS_URL_FILE": redisFile}
	args := append([]string{pipeCall, "--payload", "-"}, wait...)
	if d := h.runWith(t.Context(), strings.NewReader(pipePayload), args...); d.code != 0 {
		t.Errorf("stdin: %+v", d)
	}
	// Members of values are texts, even if they look like numbers.
	h.wantExit(0, "danaconnect:otp:send", "--payload", `{"idConversation":824541,"type":1}`, "--set", "length=6",
		"--set", "values.COD1_PHONE=5215512345678", "--set", "values.COD1_EMAIL=a=b@example.com", "--wait", waitTimeout)
	body := string(h.otp.Requests(danaconnecttest.OpSend)[0].Body)
	wantText(t, "the request", body, `"5215512345678"`, `"a=b@example.com"`, `"length":6`)
}

func TestTextOutput(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	id := h.wantExit(0, pipeCall, "--payload", pipePayload, "--in=1h", "--json").report(t).ID
	status := h.wantExit(0, "status", id).stdout
	wantText(t, "status", status, "id            "+id+"\ntype          dckap:dynamic:call\nqueue         dckap\n",
		"state         scheduled\ncreated       20", "\ndue           20", "\nusable until  20")
	h.startWorker()
	d := h.wantExit(0, "danaconnect:otp:send", "--payload", otpPayload, "--wait", waitTimeout)
	wantText(
		t,
		"stdout",
		d.stdout,
		"outcome   done\n",
		"attempts  1\n",
		"data      {\n            \"idRequest\": \"251\",\n",
	)
	wantText(t, "stderr", d.stderr, "is stored; waiting up to 30s for its outcome")
	status = h.wantExit(0, "status", strings.Fields(d.stdout)[1]).stdout
	wantText(t, "status", status, "\n\nat ", "class  code  status  took", "  done   ")
}
