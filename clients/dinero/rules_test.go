package dinero_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/tokens"
)

// The table, written out a second time: the test would be empty if it read the
// one under test.
func TestEveryRuleHasItsMeaning(t *testing.T) {
	t.Parallel()
	const done = clients.Kind(255)
	coded := func(code string) string {
		return `{"code":` + code + `,"message":"canary-customer-76","validationErrors":{}}`
	}
	for _, tt := range []struct {
		method, body string
		status       int
		kind         clients.Kind
		code         string
		gate         tokens.Verdict
		wait         time.Duration
		unlisted     bool
	}{
		{"GET", `{}`, 200, done, "", tokens.Accepted, 0, false},
		{"POST", `{}`, 201, done, "", tokens.Accepted, 0, false},
		{"PUT", ``, 204, done, "", tokens.Accepted, 0, false},
		{"DELETE", coded("40"), 404, done, "", tokens.NoVerdict, 0, false},
		{"DELETE", ``, 404, done, "", tokens.NoVerdict, 0, false},
		{"DELETE", coded("40"), 400, done, "", tokens.NoVerdict, 0, false},

		{"POST", coded("42"), 400, clients.Invalid, "42", tokens.NoVerdict, 0, false},
		{"POST", coded(`"42"`), 400, clients.Invalid, "42", tokens.NoVerdict, 0, false},
		{"POST", coded("43"), 400, clients.Invalid, "43", tokens.NoVerdict, 0, false},
		{"POST", coded("58"), 400, clients.Declined, "58", tokens.NoVerdict, 0, false},
		{"POST", coded("41"), 400, clients.Credentials, "41", tokens.NoVerdict, 0, false},
		{"POST", coded("40"), 400, clients.Invalid, "40", tokens.NoVerdict, 0, false},
		{"DELETE", coded("42"), 400, clients.Invalid, "42", tokens.NoVerdict, 0, false},
		{"POST", ``, 400, clients.Invalid, "", tokens.NoVerdict, 0, false},
		{"POST", coded("77"), 400, clients.Invalid, "77", tokens.NoVerdict, 0, true},
		{"POST", coded(`"canary-customer-76"`), 400, clients.Invalid, "", tokens.NoVerdict, 0, false},
		{"POST", coded("90"), 401, clients.Credentials, "90", tokens.NoVerdict, 0, false},
		{"POST", coded("90"), 403, clients.Credentials, "90", tokens.Refused, 0, false},
		{"POST", coded("48"), 403, clients.Credentials, "48", tokens.Refused, 0, false},
		{"POST", coded("41"), 403, clients.Credentials, "41", tokens.NoVerdict, 0, false},
		{"POST", coded("77"), 403, clients.Credentials, "77", tokens.NoVerdict, 0, true},
		{"POST", ``, 403, clients.Credentials, "", tokens.NoVerdict, 0, false},
		{"GET", coded("40"), 404, clients.Invalid, "40", tokens.NoVerdict, 0, false},
		{"POST", ``, 404, clients.Invalid, "", tokens.NoVerdict, 0, false},
		{"POST", ``, 413, clients.Invalid, "", tokens.NoVerdict, 0, false},
		{"POST", `API calls quota exceeded! maximum admitted 100 per Minute.`, 429, clients.RateLimited, "", tokens.NoVerdict, time.Minute, false},
		{"GET", ``, 480, clients.Temporary, "480", tokens.NoVerdict, 0, false},
		{"POST", coded("7"), 480, clients.Temporary, "7", tokens.NoVerdict, 0, false},
		{"POST", ``, 500, clients.Unknown, "", tokens.NoVerdict, 0, false},
		{"GET", ``, 502, clients.Unknown, "", tokens.NoVerdict, 0, false},
		{"POST", ``, 503, clients.Unknown, "", tokens.NoVerdict, 0, false},
		{"POST", coded("42"), 504, clients.Unknown, "42", tokens.NoVerdict, 0, false},
		{"POST", ``, 599, clients.Unknown, "", tokens.NoVerdict, 0, false},

		{"POST", ``, 302, clients.Invalid, "", tokens.NoVerdict, 0, true},
		{"POST", ``, 408, clients.Unknown, "", tokens.NoVerdict, 0, true},
		{"POST", coded("1"), 409, clients.Invalid, "1", tokens.NoVerdict, 0, true},
		{"POST", ``, 425, clients.RateLimited, "", tokens.NoVerdict, 0, true},
		{"POST", ``, 700, clients.Unknown, "", tokens.NoVerdict, 0, true},
	} {
		t.Run(fmt.Sprint(tt.method, " ", tt.status, " ", tt.body), func(t *testing.T) {
			t.Parallel()
			f := start(t, options())
			f.source.replay = false
			f.Inject(sandbox.Fault{Op: dinerotest.OpInvoice, Status: tt.status, Body: new(tt.body)})
			answer, err := f.client.Call(t.Context(), dinero.Request{Organization: org, Method: tt.method, Path: "invoices/x", Body: json.RawMessage(`{}`)})
			f.gate.Expect(t, tt.gate)
			if answer.Status != tt.status || (json.Valid([]byte(tt.body)) && string(answer.Body) != tt.body) {
				t.Errorf("answer %d %s", answer.Status, answer.Body)
			}
			if tt.kind == done {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := fault(t, err, tt.kind)
			if e.Status != tt.status || e.Code != tt.code || e.Message == "" || e.NotSent || e.RetryAfter != tt.wait || e.Unlisted != tt.unlisted {
				t.Errorf("%+v", *e)
			}
		})
	}
	if n := len(dinero.Rules()); n != 18 {
		t.Errorf("%d rules; add the new one above", n)
	}
}

func TestRetryAfterOfTheVendorCounts(t *testing.T) {
	t.Parallel()
	for status, wait := range map[int]time.Duration{429: 7 * time.Second, 480: 7 * time.Second, 500: 7 * time.Second, 400: 0, 403: 0} {
		f := start(t, options())
		f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Status: status, RetryAfter: "7"})
		_, err := f.client.CreateInvoice(t.Context(), invoice())
		if e, ok := clients.AsError(err); !ok || e.RetryAfter != wait {
			t.Errorf("%d: %+v", status, err)
		}
	}
}

// What a 2xx of a free call may carry.
func TestBodiesOfACall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault sandbox.Fault
		read  bool // done for a GET
		write bool // done for a PUT
	}{
		{"object", sandbox.Fault{Body: new(`{}`)}, true, true},
		{"list", sandbox.Fault{Body: new(`[]`)}, true, true},
		{"text", sandbox.Fault{Body: new(`"x"`)}, true, true},
		{"byte order mark", sandbox.Fault{Body: new("\xef\xbb\xbf{}")}, true, true},
		{"called text", sandbox.Fault{Body: new(`{}`), ContentType: "text/plain"}, true, true},
		{"byte by byte", sandbox.Fault{Body: new(`{"a":[1,2,3]}`), Slow: time.Microsecond}, true, true},
		{"empty", sandbox.Fault{Status: http.StatusOK}, false, true},
		{"no content", sandbox.Fault{Status: http.StatusNoContent}, false, true},
		{"web page", sandbox.Fault{HTML: true}, false, false},
		{"null", sandbox.Fault{Body: new(`null`)}, false, false},
		{"text alone", sandbox.Fault{Body: new(`OK`)}, false, false},
		{"cut off", sandbox.Fault{Body: new(`{"a":1}`), Truncate: true}, false, false},
		{"ten megabytes", sandbox.Fault{Body: new(`{}`), Oversized: true}, false, false},
	} {
		for method, done := range map[string]bool{http.MethodGet: tt.read, http.MethodPut: tt.write} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				t.Parallel()
				f := start(t, options())
				injected := tt.fault
				injected.Op = dinerotest.OpInvoice
				f.Inject(injected)
				_, err := f.client.Call(t.Context(), dinero.Request{Organization: org, Method: method, Path: "invoices/x"})
				if done {
					if err != nil {
						t.Error(err)
					}
					return
				}
				fault(t, err, clients.Unknown)
			})
		}
	}
}

func fuzzSeeds(f *testing.F) {
	f.Helper()
	for _, body := range []string{
		`{"Guid":"g","TimeStamp":"0000"}`, `{"ContactGUID":"g"}`, `{"code":58,"message":"m"}`, `{"code":"48"}`, "API calls quota exceeded!",
		`{"Collection":[{"Guid":"g","ExternalReference":null,"DeletedAt":"2026-01-01T00:00:00.1"}],"Pagination":{"PageSize":1,"Result":1}}`,
		`{"access_token":"t","expires_in":"3600"}`, `null`, `<`, "\xef\xbb\xbf{}",
	} {
		f.Add(200, body, false)
		f.Add(400, body, true)
	}
}

func FuzzAnswers(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, status int, body string, incomplete bool) {
		a := &clients.Answer{Status: status, Body: []byte(body), Incomplete: incomplete}
		ok := status >= 200 && status <= 299
		for _, method := range []string{"GET", "POST", "DELETE"} {
			answer, err := dinero.Judge(method, a)
			gone := method == "DELETE" && (status == 404 || status == 400)
			if err == nil && !ok && !gone {
				t.Errorf("%s %d %q passes for a success", method, status, body)
			}
			if answer.Body != nil && !json.Valid(answer.Body) {
				t.Errorf("the body is no JSON: %q", answer.Body)
			}
		}
		if made, err := dinero.ReadCreated(a); err != nil && made != (dinero.Created{}) || incomplete && err == nil {
			t.Errorf("%+v beside %v", made, err)
		}
		if ids, total, err := dinero.ReadList(a); err != nil && (ids != nil || total != 0) || incomplete && err == nil {
			t.Errorf("%v, %d beside %v", ids, total, err)
		}
	})
}
