package dckap_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/sandbox"
)

// TestBodies covers the bodies of a 2xx of a pipe without a rule.
func TestBodies(t *testing.T) {
	t.Parallel()
	raw := func(body string) sandbox.Fault { return sandbox.Fault{Body: new(body), AfterEffect: true} }
	for _, tt := range []struct {
		name  string
		fault sandbox.Fault
		kind  clients.Kind
	}{
		{"object", raw(`{}`), done},
		{"list", raw(`[]`), done},
		{"text", raw(`"OK"`), done},
		{"number", raw(`1`), done},
		{"byte order mark", raw("\xef\xbb\xbf{}"), done},
		{"content type text/plain", sandbox.Fault{ContentType: "text/plain"}, done},
		{"byte by byte", sandbox.Fault{Slow: time.Microsecond}, done},
		{"empty", sandbox.Fault{Status: http.StatusOK, AfterEffect: true}, clients.Unknown},
		{"no content", sandbox.Fault{Status: http.StatusNoContent, AfterEffect: true}, clients.Unknown},
		{"spaces", raw(" \r\n "), clients.Unknown},
		{"web page", sandbox.Fault{HTML: true}, clients.Unknown},
		{"web page with content type JSON", sandbox.Fault{HTML: true, ContentType: "application/json"}, clients.Unknown},
		{"null", raw(`null`), clients.Unknown},
		{"truncated", sandbox.Fault{Truncate: true}, clients.Unknown},
		{"truncated JSON with a matching length", raw(`{"status":"success"`), clients.Unknown},
		{"trailing garbage", raw(`{}x`), clients.Unknown},
		{"plain text", raw(`OK`), clients.Unknown},
		{"ten megabytes", sandbox.Fault{Oversized: true}, clients.Unknown},

		{"error", raw(`{"error":"canary-body-75"}`), clients.Failed},
		{"error object", raw(`{"error":{"code":1}}`), clients.Failed},
		{"error true", raw(`{"error":true}`), clients.Failed},
		{"error number", raw(`{"error":7}`), clients.Failed},
		{"errors", raw(`{"errors":["x"]}`), clients.Failed},
		{"errors in capitals", raw(`{"Errors":["x"]}`), clients.Failed},
		{"success false", raw(`{"success":false}`), clients.Failed},
		{"success false as text", raw(`{"success":"False"}`), clients.Failed},
		{"status error", raw(`{"status":"error"}`), clients.Failed},
		{"status failed", raw(`{"status":"FAILED"}`), clients.Failed},
		{"error null", raw(`{"error":null}`), done},
		{"error false", raw(`{"error":false}`), done},
		{"error empty", raw(`{"error":""}`), done},
		{"error 0", raw(`{"error":0.0}`), done},
		{"errors empty", raw(`{"errors":[]}`), done},
		{"errors empty object", raw(`{"errors":{}}`), done},
		{"success true", raw(`{"success":true}`), done},
		{"status ok", raw(`{"status":"ok"}`), done},
		{"status number", raw(`{"status":500}`), done},
		{"success twice", raw(`{"success":false,"success":true}`), clients.Unknown},
		{"status twice", raw(`{"Status":"ok","status":"ok"}`), clients.Unknown},
		{"another field twice", raw(`{"x":1,"x":2,"data":{"success":1,"success":2}}`), done},
		{"nested error", raw(`{"data":{"error":"x"}}`), done},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, dckap.Bearer, "")
			tt.fault.Op = dckaptest.OpCall
			f.Inject(tt.fault)
			answer, err := f.client.Call(t.Context(), order())
			if answer.Verified {
				t.Error("an answer is verified without a rule")
			}
			if tt.kind == done {
				if err != nil || answer.Body == nil {
					t.Errorf("%v, body %s", err, answer.Body)
				}
				return
			}
			if e := wantKind(t, err, tt.kind); e.NotSent {
				t.Error("NotSent is true although an answer arrived")
			}
			if tt.kind == clients.Failed && answer.Body == nil {
				t.Error("the pipe's answer is lost")
			}
		})
	}
}

func TestSuccessRule(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule, body string
		met        bool
	}{
		{`{path: state, equals: done}`, `{"state":"done"}`, true},
		{`{path: state, equals: done}`, `{"state":"Done"}`, false},
		{`{path: state, equals: done}`, `{"State":"done"}`, false},
		{`{path: state, equals: done}`, `{}`, false},
		{`{path: state, equals: done}`, `["state"]`, false},
		{`{path: state, equals: done}`, `{"state":["done"]}`, false},
		{`{path: code, equals: 0}`, `{"code":0}`, true},
		{`{path: code, equals: 0}`, `{"code":0.0}`, true},
		{`{path: code, equals: 1}`, `{"code":10e-1}`, true},
		{`{path: code, equals: 1}`, `{"code":1e999999999}`, false},
		{`{path: code, equals: 0}`, `{"code":"0"}`, false},
		{`{path: code, equals: "0"}`, `{"code":"0"}`, true},
		{`{path: code, equals: "0"}`, `{"code":0}`, false},
		{`{path: code, equals: 12345678901234567890}`, `{"code":12345678901234567890}`, true},
		{`{path: code, equals: 12345678901234567890}`, `{"code":12345678901234567891}`, false},
		{`{path: ok, equals: true}`, `{"ok":true}`, true},
		{`{path: ok, equals: true}`, `{"ok":"true"}`, false},
		{`{path: "data.items[1].id", equals: b}`, `{"data":{"items":[{"id":"a"},{"id":"b"}]}}`, true},
		{`{path: "$.data.items.1.id", equals: b}`, `{"data":{"items":[{"id":"a"},{"id":"b"}]}}`, true},
		{`{path: "[0]", equals: b}`, `["b"]`, true},
		{`{path: "[5]", equals: b}`, `["b"]`, false},
		{`{path: "a['b.c'].d", equals: 1}`, `{"a":{"b.c":{"d":1}}}`, true},
		{`{required: data.id}`, `{"data":{"id":0}}`, true},
		{`{required: data.id}`, `{"data":{"id":{}}}`, true},
		{`{required: data.id}`, `{"data":{"id":null}}`, false},
		{`{required: data.id}`, `{"data":[]}`, false},
		{`{required: data.id}`, `"data.id"`, false},
	} {
		t.Run(tt.rule+" "+tt.body, func(t *testing.T) {
			t.Parallel()
			f := start(t, dckap.Bearer, "pipes: [{listener: "+dckaptest.Listener+", success: "+tt.rule+"}]")
			f.Inject(sandbox.Fault{Op: dckaptest.OpCall, Body: new(tt.body)})
			answer, err := f.client.Call(t.Context(), order())
			if tt.met {
				if err != nil || !answer.Verified {
					t.Errorf("verified %v, %v", answer.Verified, err)
				}
				return
			}
			wantKind(t, err, clients.Failed)
		})
	}
}

// A pipe that the file declares idempotent is retried after an unknown result or
// a failure, unless the payload says otherwise.
func TestIdempotentPipe(t *testing.T) {
	t.Parallel()
	const idempotent = "pipes: [{listener: " + dckaptest.Listener + ", idempotent: true}]"
	faults := map[clients.Kind]sandbox.Fault{
		clients.Unknown:     {Drop: true},
		clients.Failed:      {Body: new(`{"success":false}`)},
		clients.Invalid:     {Status: 404},
		clients.Credentials: {Status: 401},
		clients.Blocked:     {Status: 429},
	}
	for kind, injected := range faults {
		for _, own := range []*bool{nil, new(true), new(false)} {
			for _, pipes := range []string{"", idempotent} {
				f := start(t, dckap.Bearer, pipes)
				injected.Op = dckaptest.OpCall
				f.Inject(injected)
				call := order()
				call.Idempotent = own
				_, err := f.client.Call(t.Context(), call)
				want := kind
				if pipes != "" && own == nil && slices.Contains([]clients.Kind{clients.Unknown, clients.Failed}, kind) {
					want = clients.Temporary
				}
				if e, ok := clients.AsError(err); !ok || e.Kind != want {
					t.Errorf("%v, payload %v, file %q: %v", kind, own, pipes, err)
				}
			}
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{`{"status":"success","data":{"id":"r1"}}`, `{"errors":[{}]}`, `[[[[`, `{"data":{"id":1e400}}`, "\xef\xbb\xbfnull", `"`, `{"status":"failed"}`} {
		f.Add(200, body, false)
	}
	f.Fuzz(func(t *testing.T, status int, body string, incomplete bool) {
		answer, class, done := dckap.Interpret(&clients.Answer{Status: status, Body: []byte(body), Incomplete: incomplete})
		switch {
		case done && (status < 200 || status > 299 || incomplete || !json.Valid(answer.Body)):
			t.Errorf("%d passes as a success: %q", status, body)
		case answer.Verified && class != dckap.RuleMet:
			t.Errorf("verified although %s", class)
		case answer.Body != nil && !json.Valid(answer.Body):
			t.Errorf("the body is not JSON: %q", answer.Body)
		}
	})
}

// A field that the rule reads, given twice, says nothing.
func TestRuleOfAFieldGivenTwice(t *testing.T) {
	t.Parallel()
	for body, kind := range map[string]clients.Kind{
		`{"data":{"id":"r1","id":"r2"}}`:              clients.Unknown,
		`{"data":{},"data":{"id":"r1"}}`:              clients.Unknown,
		`{"data":{"id":"r1","x":1,"x":2},"y":1}`:      done,
		`{"data":{"id":"r1"},"y":{"id":1,"id":"r1"}}`: done,
	} {
		f := start(t, dckap.Bearer, withRule)
		f.Inject(sandbox.Fault{Op: dckaptest.OpCall, Body: new(body)})
		_, err := f.client.Call(t.Context(), order())
		if kind == done {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
			continue
		}
		wantKind(t, err, kind)
	}
}
