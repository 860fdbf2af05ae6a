package anna_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

const ok clients.Kind = 255 // no error

// allFields holds every promised field with a valid value.
const allFields = `"accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"},` +
	`"structure":{},"alertCounter":1,"userRequests":[],"messengerLink":"l"`

// Every answer is given to every operation.
func TestAnswers(t *testing.T) {
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
	// success:true and one field: kind for the operations that promise the field.
	only := func(name string, fault sandbox.Fault, kind clients.Kind, promised ...string) row {
		return row{name, fault, func(op string) clients.Kind {
			switch {
			case slices.Contains(promised, op):
				return kind
			case op == annatest.OpInactivate:
				return ok // promises no field
			}
			return clients.Unknown
		}}
	}
	field := func(key, value string, kind clients.Kind, promised ...string) row {
		return only(key+" "+value, answerWith(`{"success":true,"message":"","`+key+`":`+value+`}`), kind, promised...)
	}
	forHash := func(access string, kind clients.Kind) row {
		return field("accessData", access, kind, annatest.OpHash, annatest.OpForceHash)
	}
	forAlerts := func(n string, kind clients.Kind) row {
		return field("alertCounter", n, kind, annatest.OpAlerts)
	}
	sample := func(name string) sandbox.Fault {
		return answerWith(string(clientstest.ReadFile(t, "testdata/"+name+".json")))
	}

	rows := []row{
		only("the page's hash", sample("user-hash"), ok, annatest.OpHash, annatest.OpForceHash),
		only("the page's inactivation", sample("user-inactivate"), ok),
		only("the page's counter", sample("alert-counter"), ok, annatest.OpAlerts),
		only("the page's structure", sample("structure"), ok, annatest.OpStructure),
		only("the page's requests", sample("requests"), ok, annatest.OpRequests),
		only("the page's link", sample("link"), clients.Unknown, annatest.OpLink), // it is empty there
		refused("the page's failure", sample("user-hash-refused")),
		refused("failure without a message", answerWith(`{"success":false}`)),
		refused("failure with the promised fields", answerWith(`{"success":false,`+allFields+`}`)),
		all("all fields", answerWith(`{"success":true,`+allFields+`}`), ok),
		all("201 with success", answerStatus(http.StatusCreated, `{"success":true,`+allFields+`}`), ok),
		all(
			"other casing",
			answerWith(
				`{"Success":true,"AlertCounter":1,"Structure":{},"UserRequests":[],"MessengerLink":"l",`+
					`"AccessData":{"hash":"h","chatUrl":"c","embeddedUrl":"e"}}`,
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

		all("success missing", answerWith(`{"message":"",`+allFields+`}`), clients.Unknown),
		all("success null", answerWith(`{"success":null}`), clients.Unknown),
		all("success the text true", answerWith(`{"success":"true",`+allFields+`}`), clients.Unknown),
		all("success the text false", answerWith(`{"success":"false"}`), clients.Unknown),
		all("success 1", answerWith(`{"success":1}`), clients.Unknown),
		all("success 0", answerWith(`{"success":0}`), clients.Unknown),
		all("success twice", answerWith(`{"success":false,"success":true,`+allFields+`}`), clients.Unknown),
		all("success twice, in the end false", answerWith(`{"success":true,"Success":false}`), clients.Unknown),
		all("no JSON", answerWith(`success`), clients.Unknown),
		all("web page", sandbox.Fault{HTML: true}, clients.Unknown),

		all("500 with success", answerStatus(500, `{"success":true,`+allFields+`}`), clients.Unknown),
		all("503 with success", answerStatus(503, `{"success":true,`+allFields+`}`), clients.Unknown),
		all("500 with failure", answerStatus(500, `{"success":false}`), clients.Unknown),
		all("503 with failure", answerStatus(503, `{"success":false}`), clients.Temporary),
		all("400 with failure", answerStatus(400, `{"success":false}`), clients.Invalid),
		all("404 with failure", answerStatus(404, `{"success":false}`), clients.Invalid),
		all("404 with success", answerStatus(404, `{"success":true,`+allFields+`}`), clients.Invalid),
		all("429 with failure", answerStatus(429, `{"success":false}`), clients.Blocked),
		all("401 with failure", answerStatus(401, `{"success":false}`), clients.Credentials),
		all("403 with success", answerStatus(403, `{"success":true}`), clients.Credentials),
		all("302 with success", answerStatus(302, `{"success":true}`), clients.Unknown),
		all("502 with failure", answerStatus(502, `{"success":false}`), clients.Unknown),
		all("503 with neither", answerStatus(503, `{"message":"x"}`), clients.Unknown),
		all("503 alone", answerStatus(503, ``), clients.Unknown),
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
			t.Run(fmt.Sprintf("%s/%s", r.name, o.name), func(t *testing.T) {
				t.Parallel()
				sb, err := o.callWithFaults(t, &source{}, r.fault)
				if n := sb.Calls(o.name); n != 1 {
					t.Errorf("%d calls, want 1", n)
				}
				want := r.want(o.name)
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

// A failed read must not return a value together with its error.
func TestNoResultWithAnError(t *testing.T) {
	t.Parallel()
	const (
		valid = `"alertCounter":7,"structure":{"a":1},"userRequests":[1],"messengerLink":"l",` +
			`"accessData":{"Hash":"h","ChatURL":"c","EmbeddedURL":"e"}`
		invalid = `"alertCounter":-7,"structure":[1],"userRequests":{"a":1},"messengerLink":["l"],` +
			`"accessData":{"Hash":"h","ChatURL":7}`
	)
	for name, text := range map[string]string{
		"refused":             `{"success":false,` + valid + `}`,
		"success missing":     `{` + valid + `}`,
		"fields out of range": `{"success":true,` + invalid + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			sb.Inject(answerWith(text))
			c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Timeouts{})
			if n, err := c.AlertCounter(t.Context(), user, anna.Filters{}); err == nil || n != 0 {
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
			if got, err := c.Requests(t.Context(), user, anna.Filters{}); err == nil || got != nil {
				t.Errorf("Requests() = %s, %v", got, err)
			}
			if got, err := c.Link(t.Context(), anna.User{UserID: userID}); err == nil || got.MessengerLink != "" {
				t.Errorf("Link() = %q, %v", got.MessengerLink, err)
			}
		})
	}
}
