package anna_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

const ok clients.Kind = 255 // no error

// everything is every promised field, as it should be.
const everything = `"accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"},"structure":{},"alertCounter":1,"userRequests":[],"messengerLink":"l"`

// The table of VENDORS §2, cell by cell: one row per answer, one column per
// operation. UNKNOWN and RETRY of a repeatable operation are both Unknown here,
// by the house rule.
func TestCells(t *testing.T) {
	t.Parallel()
	const hash = `"Hash":"h","ChatURL":"https://c","EmbeddedURL":"https://e"`
	type row struct {
		name  string
		fault sandbox.Fault
		want  func(op string) clients.Kind
	}
	all := func(name string, fault sandbox.Fault, kind clients.Kind) row {
		return row{name, fault, func(string) clients.Kind { return kind }}
	}
	refused := func(name string, fault sandbox.Fault) row {
		return row{name, fault, func(op string) clients.Kind {
			if op == annatest.OpInactivate {
				return clients.Temporary // never Declined
			}
			return clients.Declined
		}}
	}
	// success:true and one field: kind for the operations that are promised it.
	only := func(name string, fault sandbox.Fault, kind clients.Kind, promised ...string) row {
		return row{name, fault, func(op string) clients.Kind {
			switch {
			case slices.Contains(promised, op):
				return kind
			case op == annatest.OpInactivate:
				return ok // nothing is promised
			}
			return clients.Unknown
		}}
	}
	field := func(key, value string, kind clients.Kind, promised ...string) row {
		return only(key+" "+value, body(`{"success":true,"message":"","`+key+`":`+value+`}`), kind, promised...)
	}
	forHash := func(access string, kind clients.Kind) row {
		return field("accessData", access, kind, annatest.OpHash, annatest.OpForceHash)
	}
	forAlerts := func(n string, kind clients.Kind) row { return field("alertCounter", n, kind, annatest.OpAlerts) }
	status := func(code int, text string) sandbox.Fault { return sandbox.Fault{Status: code, Body: new(text)} }
	reply := func(name string) sandbox.Fault {
		return body(string(clientstest.ReadFile(t, "testdata/"+name+".json")))
	}

	rows := []row{
		only("the page's hash", reply("user-hash"), ok, annatest.OpHash, annatest.OpForceHash),
		only("the page's inactivation", reply("user-inactivate"), ok),
		only("the page's counter", reply("alert-counter"), ok, annatest.OpAlerts),
		only("the page's structure", reply("structure"), ok, annatest.OpStructure),
		only("the page's requests", reply("requests"), ok, annatest.OpRequests),
		only("the page's link", reply("link"), clients.Unknown, annatest.OpLink), // it is empty there
		refused("the page's failure", reply("user-hash-refused")),
		refused("failure without a message", body(`{"success":false}`)),
		refused("failure with the promised fields", body(`{"success":false,`+everything+`}`)),
		all("everything", body(`{"success":true,`+everything+`}`), ok),
		all("201 with success", status(http.StatusCreated, `{"success":true,`+everything+`}`), ok),
		all(
			"other casing",
			body(
				`{"Success":true,"AlertCounter":1,"Structure":{},"UserRequests":[],"MessengerLink":"l","AccessData":{"hash":"h","chatUrl":"c","embeddedUrl":"e"}}`,
			),
			ok,
		),

		forHash(`{`+hash+`}`, ok), // no expiry
		forHash(`{"Hash":"h","ChatURL":"","EmbeddedURL":"","Expires":""}`, ok),
		forHash(`{"Hash":"","ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash(`{"Hash":null,"ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash(`{"Hash":7,"ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash(`{"ChatURL":"c","EmbeddedURL":"e"}`, clients.Unknown),
		forHash(`{"Hash":"h","ChatURL":"c"}`, clients.Unknown),
		forHash(`{"Hash":"h","ChatURL":true,"EmbeddedURL":"e"}`, clients.Unknown),
		forHash(`{}`, clients.Unknown),
		forHash(`null`, clients.Unknown),
		forHash(`"h"`, clients.Unknown),
		forHash(`[]`, clients.Unknown),

		forAlerts(`0`, ok),
		forAlerts(`2147483648`, ok),
		forAlerts(`"1"`, clients.Unknown),
		forAlerts(`null`, clients.Unknown),
		forAlerts(`1.5`, clients.Unknown),
		forAlerts(`1.0`, clients.Unknown),
		forAlerts(`1e2`, clients.Unknown),
		forAlerts(`-1`, clients.Unknown),
		forAlerts(`-0`, clients.Unknown),
		forAlerts(`99999999999999999999`, clients.Unknown),
		forAlerts(`false`, clients.Unknown),
		forAlerts(`{}`, clients.Unknown),
		forAlerts(`[1]`, clients.Unknown),

		all("success missing", body(`{"message":"",`+everything+`}`), clients.Unknown),
		all("success null", body(`{"success":null}`), clients.Unknown),
		all("success the text true", body(`{"success":"true",`+everything+`}`), clients.Unknown),
		all("success the text false", body(`{"success":"false"}`), clients.Unknown),
		all("success 1", body(`{"success":1}`), clients.Unknown),
		all("success 0", body(`{"success":0}`), clients.Unknown),
		all("no JSON", body(`success`), clients.Unknown),
		all("web page", sandbox.Fault{HTML: true}, clients.Unknown),

		all("500 with success", status(500, `{"success":true,`+everything+`}`), clients.Unknown),
		all("503 with success", status(503, `{"success":true,`+everything+`}`), clients.Unknown),
		all("500 with failure", status(500, `{"success":false}`), clients.Unknown),
		all("503 with failure", status(503, `{"success":false}`), clients.Temporary),
		all("400 with failure", status(400, `{"success":false}`), clients.Invalid),
		all("404 with failure", status(404, `{"success":false}`), clients.Invalid),
		all("404 with success", status(404, `{"success":true,`+everything+`}`), clients.Invalid),
		all("429 with failure", status(429, `{"success":false}`), clients.RateLimited),
		all("401 with failure", status(401, `{"success":false}`), clients.Credentials),
		all("403 with success", status(403, `{"success":true}`), clients.Credentials),
		all("302 with success", status(302, `{"success":true}`), clients.Invalid),
	}
	for _, value := range []string{`null`, `""`, `"x"`, `0`, `true`, `[]`, `[{"Alias":"a"}]`} {
		rows = append(rows, field("structure", value, clients.Unknown, annatest.OpStructure))
	}
	for _, value := range []string{`null`, `""`, `"[]"`, `0`, `true`, `{}`, `{"0":{}}`} {
		rows = append(rows, field("userRequests", value, clients.Unknown, annatest.OpRequests))
	}
	for _, value := range []string{`null`, `""`, `0`, `true`, `{}`, `["l"]`} {
		rows = append(rows, field("messengerLink", value, clients.Unknown, annatest.OpLink))
	}
	rows = append(rows,
		field("structure", `{"Departments":[]}`, ok, annatest.OpStructure),
		field("userRequests", `[{"protocol":"1"}]`, ok, annatest.OpRequests),
		field("messengerLink", `"https://l"`, ok, annatest.OpLink),
	)
	for _, r := range rows {
		for _, o := range operations {
			t.Run(fmt.Sprintf("%s/%s", r.name, o.op), func(t *testing.T) {
				t.Parallel()
				sb, err := o.against(t, &source{}, r.fault)
				if n := sb.Calls(o.op); n != 1 {
					t.Errorf("%d calls, want 1", n)
				}
				want := r.want(o.op)
				if want == ok {
					if err != nil {
						t.Errorf("error %v, want none", err)
					}
					return
				}
				e := wantKind(t, err, want)
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

// The whole table, written out a second time: the other tests look at what the
// client does, this one at what the docs are made of.
func TestGoldenRules(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, r := range anna.Rules() {
		fmt.Fprintf(&got, "%s | %s | %s | %s | %s | %s\n", r.Op, r.Path, r.Observation, r.Kind, r.Message, r.RetryAfter)
	}
	clientstest.GoldenText(t, "testdata/rules.txt", got.String())
}

// A read that fails must not hand out a number beside its error.
func TestNoResultBesideAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"refused":  `{"success":false,"alertCounter":7,"structure":{"a":1},"userRequests":[1],"messengerLink":"l","accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"}}`,
		"unsure":   `{"alertCounter":7,"structure":{"a":1},"userRequests":[1],"messengerLink":"l","accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"}}`,
		"negative": `{"success":true,"alertCounter":-7,"structure":[1],"userRequests":{"a":1},"messengerLink":["l"],"accessData":{"Hash":"h","ChatURL":7}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			sb.Inject(body(text))
			c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Timeouts{})
			if n, err := c.AlertCounter(t.Context(), query); err == nil || n != 0 {
				t.Errorf("AlertCounter() = %d, %v", n, err)
			}
			if access, err := c.UserHash(t.Context(), userID, ""); err == nil || access.Hash != "" {
				t.Errorf("UserHash() = %q, %v", access.Hash, err)
			}
			if access, err := c.UserHashForced(t.Context(), userID, userName, ""); err == nil || access.Hash != "" {
				t.Errorf("UserHashForced() = %q, %v", access.Hash, err)
			}
			if got, err := c.Structure(t.Context()); err == nil || got != nil {
				t.Errorf("Structure() = %s, %v", got, err)
			}
			if got, err := c.Requests(t.Context(), query); err == nil || got != nil {
				t.Errorf("Requests() = %s, %v", got, err)
			}
			if got, err := c.Link(t.Context(), anna.UserQuery{UserID: userID}); err == nil || got.MessengerLink != "" {
				t.Errorf("Link() = %q, %v", got.MessengerLink, err)
			}
		})
	}
}
