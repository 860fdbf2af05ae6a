package anna_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

const ok clients.Kind = 255 // no error

// The table of VENDORS §2, cell by cell: one row per answer, one column per
// operation. UNKNOWN and RETRY of a repeatable operation are both Unknown here,
// by the house rule.
func TestCells(t *testing.T) {
	t.Parallel()
	const hash = `"Hash":"h","ChatURL":"https://c","EmbeddedURL":"https://e"`
	type row struct {
		name                     string
		fault                    sandbox.Fault
		hash, inactivate, alerts clients.Kind
	}
	all := func(name string, fault sandbox.Fault, kind clients.Kind) row {
		return row{name, fault, kind, kind, kind}
	}
	// A body with success:true and one more field: the column of its operation.
	forHash := func(name, access string, kind clients.Kind) row {
		return row{name, body(`{"success":true,"message":"","accessData":` + access + `}`), kind, ok, clients.Unknown}
	}
	forAlerts := func(name, counter string, kind clients.Kind) row {
		return row{name, body(`{"success":true,"message":"","alertCounter":` + counter + `}`), clients.Unknown, ok, kind}
	}
	status := func(code int, text string) sandbox.Fault { return sandbox.Fault{Status: code, Body: new(text)} }
	reply := func(name string) sandbox.Fault {
		return body(string(clientstest.ReadFile(t, "testdata/"+name+".json")))
	}

	rows := []row{
		{"the page's hash", reply("user-hash"), ok, ok, clients.Unknown},
		{"the page's inactivation", reply("user-inactivate"), clients.Unknown, ok, clients.Unknown},
		{"the page's counter", reply("alert-counter"), clients.Unknown, ok, ok},
		{"the page's failure", reply("user-hash-refused"), clients.Declined, clients.Temporary, clients.Declined},
		{"failure without a message", body(`{"success":false}`), clients.Declined, clients.Temporary, clients.Declined},
		{"failure with the promised fields", body(`{"success":false,"alertCounter":0,"accessData":{` + hash + `}}`), clients.Declined, clients.Temporary, clients.Declined},
		{"201 with success", status(http.StatusCreated, `{"success":true,"alertCounter":1,"accessData":{`+hash+`}}`), ok, ok, ok},
		{"other casing", body(`{"Success":true,"AlertCounter":1,"AccessData":{"hash":"h","chatUrl":"c","embeddedUrl":"e"}}`), ok, ok, ok},

		forHash("hash: no expiry", `{`+hash+`}`, ok),
		forHash("hash: empty URLs", `{"Hash":"h","ChatURL":"","EmbeddedURL":"","Expires":""}`, ok),
		forHash("hash: empty", `{"Hash":"","ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash("hash: null", `{"Hash":null,"ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash("hash: a number", `{"Hash":7,"ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash("hash: missing", `{"ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash("hash: a URL missing", `{"Hash":"h","ChatURL":"c"}`, clients.Unknown),
		forHash("hash: a URL of another type", `{"Hash":"h","ChatURL":true,"EmbeddedURL":"e"}`, clients.Unknown),
		forHash("hash: accessData empty", `{}`, clients.Unknown),
		forHash("hash: accessData null", `null`, clients.Unknown),
		forHash("hash: accessData a text", `"h"`, clients.Unknown),
		forHash("hash: accessData a list", `[]`, clients.Unknown),

		forAlerts("counter: zero", `0`, ok),
		forAlerts("counter: many", `2147483648`, ok),
		forAlerts("counter: a text", `"1"`, clients.Unknown),
		forAlerts("counter: null", `null`, clients.Unknown),
		forAlerts("counter: a fraction", `1.5`, clients.Unknown),
		forAlerts("counter: a whole fraction", `1.0`, clients.Unknown),
		forAlerts("counter: an exponent", `1e2`, clients.Unknown),
		forAlerts("counter: negative", `-1`, clients.Unknown),
		forAlerts("counter: minus zero", `-0`, clients.Unknown),
		forAlerts("counter: too large", `99999999999999999999`, clients.Unknown),
		forAlerts("counter: a boolean", `false`, clients.Unknown),
		forAlerts("counter: an object", `{}`, clients.Unknown),
		forAlerts("counter: a list", `[1]`, clients.Unknown),

		all("success missing", body(`{"message":"","alertCounter":1,"accessData":{`+hash+`}}`), clients.Unknown),
		all("success null", body(`{"success":null}`), clients.Unknown),
		all("success the text true", body(`{"success":"true","alertCounter":1,"accessData":{`+hash+`}}`), clients.Unknown),
		all("success the text false", body(`{"success":"false"}`), clients.Unknown),
		all("success 1", body(`{"success":1}`), clients.Unknown),
		all("success 0", body(`{"success":0}`), clients.Unknown),
		all("no JSON", body(`success`), clients.Unknown),
		all("web page", sandbox.Fault{HTML: true}, clients.Unknown),

		all("500 with success", status(500, `{"success":true,"alertCounter":1,"accessData":{`+hash+`}}`), clients.Unknown),
		all("503 with success", status(503, `{"success":true,"alertCounter":1,"accessData":{`+hash+`}}`), clients.Unknown),
		all("500 with failure", status(500, `{"success":false}`), clients.Unknown),
		all("503 with failure", status(503, `{"success":false}`), clients.Temporary),
		all("400 with failure", status(400, `{"success":false}`), clients.Invalid),
		all("404 with failure", status(404, `{"success":false}`), clients.Invalid),
		all("404 with success", status(404, `{"success":true,"alertCounter":1,"accessData":{`+hash+`}}`), clients.Invalid),
		all("429 with failure", status(429, `{"success":false}`), clients.RateLimited),
		all("401 with failure", status(401, `{"success":false}`), clients.Credentials),
		all("403 with success", status(403, `{"success":true}`), clients.Credentials),
		all("302 with success", status(302, `{"success":true}`), clients.Invalid),
	}
	for _, r := range rows {
		want := map[string]clients.Kind{annatest.OpHash: r.hash, annatest.OpInactivate: r.inactivate, annatest.OpAlerts: r.alerts}
		for _, o := range operations {
			t.Run(fmt.Sprintf("%s/%s", r.name, o.op), func(t *testing.T) {
				t.Parallel()
				sb, err := o.against(t, &source{}, r.fault)
				if n := sb.Calls(o.op); n != 1 {
					t.Errorf("%d calls, want 1", n)
				}
				if want[o.op] == ok {
					if err != nil {
						t.Errorf("error %v, want none", err)
					}
					return
				}
				e := wantKind(t, err, want[o.op])
				if e.NotSent {
					t.Error("NotSent is true, but the vendor answered")
				}
				if e.Kind == clients.Temporary && e.Status == http.StatusOK && e.RetryAfter != 15*time.Minute {
					t.Errorf("RetryAfter = %v after an unconfirmed inactivation, want 15 min", e.RetryAfter)
				}
			})
		}
	}
}

// A read that fails must not hand out a number beside its error.
func TestNoResultBesideAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"refused":  `{"success":false,"alertCounter":7,"accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"}}`,
		"unsure":   `{"alertCounter":7,"accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"}}`,
		"negative": `{"success":true,"alertCounter":-7,"accessData":{"Hash":"h","ChatURL":7}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			sb.Inject(body(text))
			c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Limits{})
			if n, err := c.AlertCounter(t.Context(), query); err == nil || n != 0 {
				t.Errorf("AlertCounter() = %d, %v", n, err)
			}
			if access, err := c.UserHash(t.Context(), userID, ""); err == nil || access.Hash != "" {
				t.Errorf("UserHash() = %q, %v", access.Hash, err)
			}
		})
	}
}
