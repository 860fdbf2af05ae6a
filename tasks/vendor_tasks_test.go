package tasks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/ledger"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
	"errand.internal/tasks"
)

// connectDANAConnect makes the clients of contacts and of API 2.0.
func (w *world) connectDANAConnect(limits clients.Timeouts) (*danaconnect.ContactsClient, *danaconnect.APIClient, error) {
	base := w.web.URL + danaconnecttest.Mount
	contacts, err := danaconnect.NewContacts(danaconnect.OTPConfig{
		Username:    danaconnecttest.Username,
		Company:     danaconnecttest.Company,
		Password:    secret.New(danaconnecttest.Password),
		ContactsURL: base + "api/contacts/",
	}, tokens.OpenGate(), clients.NewCaller(danaconnect.Vendor, limits, nil, nil))
	if err != nil {
		return nil, nil, err
	}
	cfg := danaconnect.APIConfig{
		ClientID:     danaconnecttest.ClientID,
		ClientSecret: secret.New(danaconnecttest.ClientSecret),
		TokenURL:     base + "oauth2/token",
		APIURL:       base + "api/2.0/",
	}
	caller := clients.NewCaller(danaconnect.Vendor, limits, nil, nil)
	login, err := danaconnect.NewAPILogin(cfg, caller)
	if err != nil {
		return nil, nil, err
	}
	profile := cfg.Profile()
	profile.Fetch = login.Fetch
	source := tokens.NewSource(redis.NewClient(&redis.Options{Addr: w.redis.Addr()}), nil, profile)
	w.stop = append(w.stop, source.Close)
	api, err := danaconnect.NewAPI(cfg, source, caller)
	return contacts, api, err
}

// Every task type of both vendors, from its golden payload to the request at the
// sandbox and the outcome.
func TestGoldenRequestsOfDANAConnectAndAnnA(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	w.otp.Add(danaconnecttest.OTP{
		IDRequest:    251,
		Code:         "004217",
		MaximumTries: 5,
		ExpiresAt:    time.Now().Add(time.Hour),
	})
	tests := []struct {
		taskType, op string
		recorder     *sandbox.Engine
	}{
		{"danaconnect:otp:send", danaconnecttest.OpSend, w.otp.Engine},
		{"danaconnect:otp:verify", danaconnecttest.OpVerify, w.otp.Engine},
		{"danaconnect:conversation:start", danaconnecttest.OpStart, w.otp.Engine},
		{"danaconnect:contacts:load", danaconnecttest.OpLoad, w.otp.Engine},
		{"danaconnect:api:call", danaconnecttest.OpCall, w.otp.Engine},
		{"anna:user:hash", annatest.OpHash, w.anna.Engine},
		{"anna:user:force_hash", annatest.OpForceHash, w.anna.Engine},
		{"anna:messenger:structure", annatest.OpStructure, w.anna.Engine},
		{"anna:messenger:requests", annatest.OpRequests, w.anna.Engine},
		{"anna:messenger:link", annatest.OpLink, w.anna.Engine},
		{"anna:messenger:alerts", annatest.OpAlerts, w.anna.Engine},
		{"anna:user:inactivate", annatest.OpInactivate, w.anna.Engine},
	}
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		before := time.Now().In(zone)
		goldenRequest(t, c, tt.taskType, tt.recorder, tt.op, func(text string) string {
			// Relative dates are those of the day.
			for name, days := range map[string]int{"TODAY": 0, "TODAY-7D": -7, "TODAY-30D": -30} {
				for _, at := range []time.Time{before, time.Now().In(zone)} {
					text = strings.ReplaceAll(text, at.AddDate(0, 0, days).Format("02/01/2006"), name)
				}
			}
			return text
		})
	}
}

func TestConversationStart(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	start := func(data string) tasks.ConversationStart {
		return tasks.ConversationStart{IDProject: "4711", Data: tasks.Fields{"COD1_EMAIL": data}}
	}
	run := func(data string, faults ...sandbox.Fault) (tasks.VendorAnswer, error) {
		t.Helper()
		for _, fault := range faults {
			fault.Op, fault.Times = danaconnecttest.OpStart, 1
			w.otp.Inject(fault)
		}
		ticket, err := tasks.Enqueue(t.Context(), c, start(data), tasks.Key("k-"+data))
		if err != nil {
			t.Fatal(err)
		}
		return wait(t, ticket)
	}
	if answer, err := run("a"); err != nil || answer.Status != 200 ||
		!strings.Contains(string(answer.Body), `"idResult":0`) {
		t.Errorf("%+v, %v", answer, err)
	}
	for data, tt := range map[string]struct {
		fault   sandbox.Fault
		want    tasks.Outcome
		effects int
	}{
		"dropped after the start":  {sandbox.Fault{Drop: true, AfterEffect: true}, tasks.Unknown, 1},
		"a failure with 200":       {sandbox.Fault{Body: new(`{"wsError":{"errorDescription":"x"}}`)}, tasks.Failed, 0},
		"an idResult other than 0": {sandbox.Fault{Code: "3"}, tasks.Failed, 0},
		"an unreadable answer":     {sandbox.Fault{HTML: true, AfterEffect: true}, tasks.Unknown, 1},
		"a 400":                    {sandbox.Fault{Status: 400}, tasks.Invalid, 0},
		"a 503 and then good":      {sandbox.Fault{Status: 503}, tasks.Done, 1},
	} {
		_, err := run(data, tt.fault)
		if outcome(err) != tt.want || w.otp.EffectsOf(danaconnecttest.OpStart, data) != tt.effects {
			t.Errorf(
				"%s: ended %s with %d starts, want %s with %d",
				data,
				outcome(err),
				w.otp.EffectsOf(danaconnecttest.OpStart, data),
				tt.want,
				tt.effects,
			)
		}
	}
}

func TestContactsLoad(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	ticket, err := c.EnqueueJSON(
		t.Context(),
		"danaconnect:contacts:load",
		[]byte(
			`{"tableCode":"CUSTOMERS","fieldsCode":["EMAIL","AGE"],"rows":[["a@example.com",7],["b, \"B\"",12345678901234567890]],"strict":true}`,
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := wait(t, ticket); err != nil || !strings.Contains(string(raw), `"status":200`) {
		t.Errorf("%s, %v", raw, err)
	}
	want := [][]string{{"a@example.com", "7"}, {`b, "B"`, "12345678901234567890"}}
	if loads := w.otp.Loads(); len(loads) != 1 || !slices.EqualFunc(loads[0].Rows, want, slices.Equal) ||
		loads[0].Strict != "true" {
		t.Errorf("the vendor has %+v", loads)
	}
	w.otp.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpLoad,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	again, err := tasks.Enqueue(
		t.Context(),
		c,
		tasks.ContactsLoad{TableCode: "CUSTOMERS", FieldsCode: []string{"E"}, Rows: [][]tasks.Cell{{"x"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, again); outcome(err) != tasks.Unknown || len(w.otp.Loads()) != 2 {
		t.Errorf("ended %s with %d loads", outcome(err), len(w.otp.Loads()))
	}
}

func TestDANAConnectCall(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	run := func(raw string) (tasks.VendorAnswer, tasks.Outcome) {
		t.Helper()
		ticket, err := c.EnqueueJSON(t.Context(), "danaconnect:api:call", []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		data, err := wait(t, ticket)
		var answer tasks.VendorAnswer
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer, outcome(err)
	}
	made, ended := run(`{"method":"POST","path":"records","body":{"n":12345678901234567890,"t":"<&>"}}`)
	if ended != tasks.Done || made.Status != 201 || string(made.Body) != `{"id":"1"}` ||
		string(w.otp.Record("1")) != `{"n":12345678901234567890,"t":"<&>"}` {
		t.Errorf("%s %+v, the vendor has %s", ended, made, w.otp.Record("1"))
	}
	listed, ended := run(`{"method":"GET","path":"records","query":{"page":2,"f":["a","b"],"all":true,"q":"x & y"}}`)
	if ended != tasks.Done ||
		!strings.Contains(
			string(listed.Body),
			`"query":{"all":["true"],"f":["a","b"],"page":["2"],"q":["x \u0026 y"]}`,
		) {
		t.Errorf("%s %s", ended, listed.Body)
	}
	if _, ended := run(`{"method":"GET","path":"records/9"}`); ended != tasks.Invalid {
		t.Errorf("of a record that is not there: %s", ended)
	}
	drop := func(afterEffect bool) {
		w.otp.Inject(sandbox.Fault{
			Op:          danaconnecttest.OpCall,
			Drop:        true,
			AfterEffect: afterEffect,
			Times:       1,
		})
	}
	drop(true)
	if _, ended := run(`{"method":"POST","path":"records","body":{"u":1}}`); ended != tasks.Unknown {
		t.Errorf("a create without an answer: %s", ended)
	}
	drop(true)
	if answer, ended := run(`{"method":"PUT","path":"records/1","body":{"v":2},"idempotent":true}`); ended != tasks.Done ||
		answer.Status != 200 {
		t.Errorf("an idempotent replacement: %s", ended)
	}
	drop(false)
	if _, ended := run(`{"method":"GET","path":"records/1"}`); ended != tasks.Done {
		t.Errorf("a read: %s", ended)
	}
	drop(false)
	if _, ended := run(`{"method":"GET","path":"records/1","idempotent":false}`); ended != tasks.Unknown {
		t.Errorf("a read that says it is none: %s", ended)
	}
	if answer, ended := run(`{"method":"DELETE","path":"/records/1"}`); ended != tasks.Done || answer.Status != 204 ||
		answer.Body != nil {
		t.Errorf("%s %+v", ended, answer)
	}
}

func TestForceHash(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	forced := tasks.UserForceHash{UserID: "u-77", UserName: "Ana"}
	ticket, err := tasks.Enqueue(t.Context(), c, forced)
	if err != nil {
		t.Fatal(err)
	}
	if access, err := wait(t, ticket); err != nil || access.Hash == "" || !w.anna.Active("u-77") {
		t.Errorf("forced hash: %v", err)
	}
	w.anna.Inject(sandbox.Fault{
		Op:          annatest.OpForceHash,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	ticket, err = tasks.Enqueue(t.Context(), c, forced)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, ticket); outcome(err) != tasks.Unknown || w.anna.EffectsOf(annatest.OpForceHash, "u-77") != 2 {
		t.Errorf("ended %s after %d", outcome(err), w.anna.EffectsOf(annatest.OpForceHash, "u-77"))
	}
	d := forced.Defaults()
	if d.Repeatable || d.Intent != (ledger.Intent{Subject: "u-77", Role: ledger.Opens}) || d.Keep != 5*time.Minute ||
		d.Budget != 2*time.Minute {
		t.Errorf("%+v", d)
	}
}

// A forced hash that waits while its user is inactivated must not bring the user
// back.
func TestForceHashOvertakenByAnInactivation(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	later, err := tasks.Enqueue(
		t.Context(),
		c,
		tasks.UserForceHash{UserID: "u-1001", UserName: "Ana"},
		tasks.In(2*time.Second),
	)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := tasks.Enqueue(t.Context(), c, tasks.UserInactivate{UserID: "u-1001"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, leave); err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, later); outcome(err) != tasks.Superseded || w.anna.Active("u-1001") ||
		w.anna.Calls(annatest.OpForceHash) != 0 {
		t.Errorf("ended %s, active %v", outcome(err), w.anna.Active("u-1001"))
	}
}

func TestMessengerReads(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	if err := w.anna.SetAlerts("u-1001", 2); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{annatest.OpStructure, annatest.OpRequests, annatest.OpLink} {
		w.anna.Inject(sandbox.Fault{Op: op, Times: 1, Body: new(`{"success":true}`)}) // and are asked again
	}
	user := tasks.MessengerUser{UserID: "u-1001"}
	structure, err := tasks.Enqueue(t.Context(), c, tasks.MessengerStructure{})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := tasks.Enqueue(t.Context(), c, tasks.MessengerRequests{MessengerUser: user})
	if err != nil {
		t.Fatal(err)
	}
	link, err := tasks.Enqueue(t.Context(), c, tasks.MessengerLink{MessengerUser: user})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wait(t, structure); err != nil || !strings.Contains(string(got.Structure), "Departments") {
		t.Errorf("%s, %v", got.Structure, err)
	}
	var list []any
	if got, err := wait(t, requests); err != nil || json.Unmarshal(got.UserRequests, &list) != nil || len(list) != 2 {
		t.Errorf("%s, %v", got.UserRequests, err)
	}
	if got, err := wait(t, link); err != nil || !strings.HasPrefix(got.MessengerLink, "https://") ||
		strings.Contains(fmt.Sprint(got), "https") {
		t.Errorf("the link: %v", err)
	}
	// A refusal has no data: a zero would look like a count.
	for _, taskType := range []string{"anna:messenger:link", "anna:messenger:requests", "anna:messenger:alerts", "anna:user:hash"} {
		nobody, err := c.EnqueueJSON(t.Context(), taskType, []byte(`{"userId":"nobody"}`))
		if err != nil {
			t.Fatal(err)
		}
		if data, err := wait(t, nobody); outcome(err) != tasks.Declined || len(data) != 0 {
			t.Errorf("nobody's %s: %s, data %s", taskType, outcome(err), data)
		}
		status, err := c.Status(t.Context(), nobody.ID)
		if err != nil || len(status.Data) != 0 {
			t.Errorf("nobody's %s keeps %s, %v", taskType, status.Data, err)
		}
	}
}

func TestPayloadRulesOfDANAConnectAndAnnA(t *testing.T) {
	t.Parallel()
	const start, load, call = "danaconnect:conversation:start", "danaconnect:contacts:load", "danaconnect:api:call"
	for _, tc := range []struct{ name, taskType, raw, want string }{
		{"by conversation", start, `{"idConversation":824541,"data":{"A":"1","B":2,"C":true}}`, ""},
		{"by project, as text", start, `{"idProject":"4711","data":{"A":"1"}}`, ""},
		{"no id", start, `{"data":{"A":"1"}}`, "idConversation is required, or else idProject"},
		{"two ids", start, `{"idConversation":1,"idProject":2,"data":{"A":"1"}}`, "idConversation must not be given together with idProject"},
		{"id 0", start, `{"idConversation":0,"data":{"A":"1"}}`, "idConversation must not begin with 0"},
		{"project 007", start, `{"idProject":"007","data":{"A":"1"}}`, "idProject must not begin with 0"},
		{"negative id", start, `{"idConversation":-1,"data":{"A":"1"}}`, "idConversation must be digits only"},
		{"id with a path", start, `{"idProject":"1/../2","data":{"A":"1"}}`, "idProject must be digits only"},
		{"no data", start, `{"idProject":1}`, "data is required"},
		{"empty data", start, `{"idProject":1,"data":{}}`, "data must have at least 1 entries"},
		{"data a list", start, `{"idProject":1,"data":[]}`, "data must be an object"},
		{"data null", start, `{"idProject":1,"data":null}`, "data must be an object"},
		{"data not flat", start, `{"idProject":1,"data":{"A":{"B":1}}}`, "data.A must be text, a number, true or false, under a field code"},
		{"data with null", start, `{"idProject":1,"data":{"A":null}}`, "data.A must be text, a number, true or false, under a field code"},
		{"data with a list", start, `{"idProject":1,"data":{"A":[1]}}`, "data.A must be text, a number, true or false, under a field code"},

		{"rows", load, `{"tableCode":"T_1","fieldsCode":["A","B"],"rows":[["1",2],["",-3.5]],"operationType":"INSALL","keyField":"A","strict":false}`, ""},
		{"nothing", load, `{}`, "fieldsCode is required; rows is required; tableCode is required"},
		{"table with a slash", load, `{"tableCode":"a/b","fieldsCode":["A"],"rows":[["1"]]}`, "tableCode must be made of letters, digits and _ . -"},
		{"table up", load, `{"tableCode":"..","fieldsCode":["A"],"rows":[["1"]]}`, "tableCode must be made of letters, digits and _ . -"},
		{
			"field codes", load, `{"tableCode":"T","fieldsCode":["A;B","C","C",""],"rows":[["1","2","3","4"]]}`,
			"fieldsCode[0] must be made of letters, digits and _ . -; fieldsCode[2] is given twice; fieldsCode[3] must not be empty",
		},
		{
			"cells", load, `{"tableCode":"T","fieldsCode":["A","B"],"rows":[["1"],[true,null]]}`,
			"rows[0] must have 2 cells, one for each field code; rows[1][0] must be text or a number; rows[1][1] must be text or a number",
		},
		{"a row that is none", load, `{"tableCode":"T","fieldsCode":["A"],"rows":["1"]}`, "rows[0] must be a list"},
		{"strict as text", load, `{"tableCode":"T","fieldsCode":["A"],"rows":[["1"]],"strict":"yes"}`, "strict must be true or false"},

		{"call", call, `{"method":"GET","path":"rest/x","query":{"a":1,"b":["x",true]}}`, ""},
		{"body of any kind", call, `{"method":"POST","path":"rest/x","body":[1,{"a":null}]}`, ""},
		{"method", call, `{"method":"get","path":"rest/x"}`, "method must be one of GET, HEAD, POST, PUT, PATCH, DELETE"},
		{"nothing to call", call, `{}`, "method is required; path is required"},
		{"another host", call, `{"method":"GET","path":"https://evil.example/x"}`, "path must not contain //"},
		{"up", call, `{"method":"GET","path":"a/%2e%2e/%2e%2e/x"}`, "path must not contain . or .. as a part"},
		{"query in the path", call, `{"method":"GET","path":"a?b=c"}`, "path must be a path as in a URL, without ? and #, everything else as %XX"},
		{"query", call, `{"method":"GET","path":"a","query":{"b":{"c":1}}}`, "query.b must be text, a number, true or false, or a list of those"},
		{"query with null", call, `{"method":"GET","path":"a","query":{"b":[null]}}`, "query.b must be text, a number, true or false, or a list of those"},
		{"body of a GET", call, `{"method":"GET","path":"a","body":{}}`, "body must not be given with GET or HEAD"},
		{"idempotent as text", call, `{"method":"GET","path":"a","idempotent":"no"}`, "idempotent must be true or false"},

		{"forced hash without a name", "anna:user:force_hash", `{"userId":"u"}`, "userName is required"},
		{"structure with a field", "anna:messenger:structure", `{"userId":"u"}`, "userId is unknown"},
		{"nobody's requests", "anna:messenger:requests", `{}`, "userId is required, or both of userDocType and userDocValue"},
		{
			"filters of requests", "anna:messenger:requests", `{"userId":"u","messengerFilters":{"status":"X","dataIni":"2026-01-31"}}`,
			"messengerFilters.dataIni must be DD/MM/YYYY, today, or today-7d; messengerFilters.status must be one of A, E",
		},
		{"link with filters", "anna:messenger:link", `{"userId":"u","messengerFilters":{}}`, "messengerFilters is unknown"},
		{"link of half a document", "anna:messenger:link", `{"userDocValue":"1"}`, "userDocType is required with userDocValue"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := tasks.DecodePayload(tc.taskType, []byte(tc.raw))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
	many := `{"tableCode":"T","fieldsCode":["A"],"rows":[` + strings.Repeat(`[],`, 30) + `[]]}`
	if _, err := tasks.DecodePayload(load, []byte(many)); err == nil || strings.Count(err.Error(), ";") != 10 ||
		!strings.Contains(err.Error(), "more than 10 rows") {
		t.Errorf("many wrong rows: %v", err)
	}
}

// Values from Go are checked like those from JSON.
func TestGoValuesOfFreeCalls(t *testing.T) {
	t.Parallel()
	_, c := startWorld(t)
	if _, err := tasks.Enqueue(t.Context(), c, tasks.DANAConnectCall{Method: "GET", Path: "records", Query: tasks.Query{"a": 1, "b": []string{"x"}, "c": true}}); err != nil {
		t.Error(err)
	}
	for name, q := range map[string]tasks.Query{
		"a map":   {"a": map[string]int{}},
		"nil":     {"a": nil},
		"a func":  {"a": func() {}},
		"no name": {"": 1},
	} {
		if _, err := tasks.Enqueue(t.Context(), c, tasks.DANAConnectCall{Method: "GET", Path: "records", Query: q}); err == nil ||
			errors.Is(err, tasks.ErrUnknownType) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
