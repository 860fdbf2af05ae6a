package dinero_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

func TestRetryAfterHeader(t *testing.T) {
	t.Parallel()
	for status, wait := range map[int]time.Duration{
		429: 7 * time.Second,
		480: 7 * time.Second,
		500: 7 * time.Second,
		400: 0,
		403: 0,
	} {
		f := start(t, options())
		f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Status: status, RetryAfter: "7"})
		_, err := f.client.CreateInvoice(t.Context(), invoice())
		if e, ok := clients.AsError(err); !ok || e.RetryAfter != wait {
			t.Errorf("%d: %+v", status, err)
		}
	}
}

// TestBodiesOfCall covers the bodies of a 2xx.
func TestBodiesOfCall(t *testing.T) {
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
		{"content type text/plain", sandbox.Fault{Body: new(`{}`), ContentType: "text/plain"}, true, true},
		{"byte by byte", sandbox.Fault{Body: new(`{"a":[1,2,3]}`), Slow: time.Microsecond}, true, true},
		{"empty", sandbox.Fault{Status: http.StatusOK}, false, true},
		{"no content", sandbox.Fault{Status: http.StatusNoContent}, false, true},
		{"web page", sandbox.Fault{HTML: true}, false, false},
		{"null", sandbox.Fault{Body: new(`null`)}, false, false},
		{"plain text", sandbox.Fault{Body: new(`OK`)}, false, false},
		{"truncated", sandbox.Fault{Body: new(`{"a":1}`), Truncate: true}, false, false},
		{"ten megabytes", sandbox.Fault{Body: new(`{}`), Oversized: true}, false, false},
	} {
		for method, done := range map[string]bool{http.MethodGet: tt.read, http.MethodPut: tt.write} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				t.Parallel()
				f := start(t, options())
				injected := tt.fault
				injected.Op = dinerotest.OpInvoice
				f.Inject(injected)
				_, err := f.client.Call(
					t.Context(),
					dinero.Request{Organization: org, Method: method, Path: "invoices/x"},
				)
				if done {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantKind(t, err, clients.Unknown)
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
			answer, err := dinero.Interpret(method, a)
			gone := method == "DELETE" && (status == 404 || status == 400)
			if err == nil && !ok && !gone {
				t.Errorf("%s %d %q passes as a success", method, status, body)
			}
			if answer.Body != nil && !json.Valid(answer.Body) {
				t.Errorf("the body is not JSON: %q", answer.Body)
			}
		}
		if made, err := dinero.ReadCreated(a); err != nil && made != (dinero.Created{}) || incomplete && err == nil {
			t.Errorf("%+v beside %v", made, err)
		}
		if ids, total, err := dinero.ReadPage(a); err != nil && (ids != nil || total != 0) || incomplete && err == nil {
			t.Errorf("%v, %d beside %v", ids, total, err)
		}
	})
}

// An answer that names two records names none.
func TestAnswersThatNameARecordTwice(t *testing.T) {
	t.Parallel()
	if made, err := dinero.ReadCreated(&clients.Answer{Status: 201, Body: []byte(`{"Guid":"a","guid":"b"}`)}); err == nil {
		t.Errorf("created %+v", made)
	}
	for _, body := range []string{
		`{"Collection":[{"Guid":"a","Guid":"b"}],"Pagination":{"Result":1}}`,
		`{"Collection":[{"Guid":"a","ExternalReference":"r","ExternalReference":"s"}],"Pagination":{"Result":1}}`,
		`{"Collection":[],"Collection":[{"Guid":"a"}],"Pagination":{"Result":1}}`,
		`{"Collection":[],"Pagination":{"Result":1,"Result":0}}`,
	} {
		if ids, _, err := dinero.ReadPage(&clients.Answer{Status: 200, Body: []byte(body)}); err == nil {
			t.Errorf("%s is read as %v", body, ids)
		}
	}
}
