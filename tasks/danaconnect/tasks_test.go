package danaconnect_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/freecall"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// start runs DANAConnect's queues against a sandbox.
func start(t *testing.T) (*danaconnecttest.Sandbox, *tasks.Client) {
	t.Helper()
	f := apptest.New(t)
	f.Only("danaconnect")
	return sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes), f.StartQueues(t)
}

func TestGoldenPayloads(t *testing.T) {
	apptest.CheckGoldenPayloads(t, danaconnect.Vendor)
}

// Every task type, from its golden payload to the request at the sandbox.
func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	vendor.Add(danaconnecttest.OTP{
		IDRequest:    251,
		Code:         "004217",
		MaximumTries: 5,
		ExpiresAt:    time.Now().Add(time.Hour),
	})
	for _, tt := range []struct{ taskType, op string }{
		{"danaconnect:otp:send", danaconnecttest.OpSend},
		{"danaconnect:otp:verify", danaconnecttest.OpVerify},
		{"danaconnect:conversation:start", danaconnecttest.OpStart},
		{"danaconnect:contacts:load", danaconnecttest.OpLoad},
		{"danaconnect:api:call", danaconnecttest.OpCall},
	} {
		apptest.CheckGoldenRequest(t, c, tt.taskType, vendor.Engine, tt.op)
	}
}

func TestPayloadRules(t *testing.T) {
	t.Parallel()
	apptest.CheckRules(t, []apptest.Rule{
		{
			Name: "by conversation",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idConversation":824541,"data":{"A":"1","B":2,"C":true}}`,
			Want: "",
		},
		{
			Name: "by project, as text",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":"4711","data":{"A":"1"}}`,
			Want: "",
		},
		{
			Name: "no id",
			Type: "danaconnect:conversation:start",
			Raw:  `{"data":{"A":"1"}}`,
			Want: "idConversation is required, or else idProject",
		},
		{
			Name: "two ids",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idConversation":1,"idProject":2,"data":{"A":"1"}}`,
			Want: "idConversation must not be given together with idProject",
		},
		{
			Name: "id 0",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idConversation":0,"data":{"A":"1"}}`,
			Want: "idConversation must not begin with 0",
		},
		{
			Name: "project 007",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":"007","data":{"A":"1"}}`,
			Want: "idProject must not begin with 0",
		},
		{
			Name: "negative id",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idConversation":-1,"data":{"A":"1"}}`,
			Want: "idConversation must be digits only",
		},
		{
			Name: "id with a path",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":"1/../2","data":{"A":"1"}}`,
			Want: "idProject must be digits only",
		},
		{
			Name: "no data",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1}`,
			Want: "data is required",
		},
		{
			Name: "empty data",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1,"data":{}}`,
			Want: "data must have at least 1 entry",
		},
		{
			Name: "data a list",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1,"data":[]}`,
			Want: "data must be an object",
		},
		{
			Name: "data null",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1,"data":null}`,
			Want: "data must be an object",
		},
		{
			Name: "data not flat",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1,"data":{"A":{"B":1}}}`,
			Want: "data.A must be text, a number, true or false, under a field code",
		},
		{
			Name: "data with null",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1,"data":{"A":null}}`,
			Want: "data.A must be text, a number, true or false, under a field code",
		},
		{
			Name: "data with a list",
			Type: "danaconnect:conversation:start",
			Raw:  `{"idProject":1,"data":{"A":[1]}}`,
			Want: "data.A must be text, a number, true or false, under a field code",
		},
		{
			Name: "rows",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"T_1","fieldsCode":["A","B"],"rows":[["1",2],["",-3.5]],"operationType":"INSALL","keyField":"A","strict":false}`,
			Want: "",
		},
		{
			Name: "nothing",
			Type: "danaconnect:contacts:load",
			Raw:  `{}`,
			Want: "fieldsCode is required; rows is required; tableCode is required",
		},
		{
			Name: "table with a slash",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"a/b","fieldsCode":["A"],"rows":[["1"]]}`,
			Want: "tableCode must be made of letters, digits and _ . -",
		},
		{
			Name: "table up",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"..","fieldsCode":["A"],"rows":[["1"]]}`,
			Want: "tableCode must be made of letters, digits and _ . -",
		},
		{
			Name: "field codes",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"T","fieldsCode":["A;B","C","C",""],"rows":[["1","2","3","4"]]}`,
			Want: "fieldsCode[0] must be made of letters, digits and _ . -; fieldsCode[2] is given twice; fieldsCode[3] must not be empty",
		},
		{
			Name: "cells",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"T","fieldsCode":["A","B"],"rows":[["1"],[true,null]]}`,
			Want: "rows[0] must have 2 cells, one for each field code; rows[1][0] must be text or a number; rows[1][1] must be text or a number",
		},
		{
			Name: "a row that is none",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"T","fieldsCode":["A"],"rows":["1"]}`,
			Want: "rows[0] must be a list",
		},
		{
			Name: "strict as text",
			Type: "danaconnect:contacts:load",
			Raw:  `{"tableCode":"T","fieldsCode":["A"],"rows":[["1"]],"strict":"yes"}`,
			Want: "strict must be true or false",
		},
		{
			Name: "call",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"rest/x","query":{"a":1,"b":["x",true]}}`,
			Want: "",
		},
		{
			Name: "body of any kind",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"POST","path":"rest/x","body":[1,{"a":null}]}`,
			Want: "",
		},
		{
			Name: "method",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"get","path":"rest/x"}`,
			Want: "method must be one of GET, HEAD, POST, PUT, PATCH, DELETE",
		},
		{
			Name: "nothing to call",
			Type: "danaconnect:api:call",
			Raw:  `{}`,
			Want: "method is required; path is required",
		},
		{
			Name: "another host",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"https://evil.example/x"}`,
			Want: "path must not contain //",
		},
		{
			Name: "up",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"a/%2e%2e/%2e%2e/x"}`,
			Want: "path must not contain . or .. as a part",
		},
		{
			Name: "query in the path",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"a?b=c"}`,
			Want: "path must be a path as in a URL, without ? and #, everything else as %XX",
		},
		{
			Name: "query",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"a","query":{"b":{"c":1}}}`,
			Want: "query.b must be text, a number, true or false, or a list of those",
		},
		{
			Name: "query with null",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"a","query":{"b":[null]}}`,
			Want: "query.b must be text, a number, true or false, or a list of those",
		},
		{
			Name: "body of a GET",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"a","body":{}}`,
			Want: "body must not be given with GET or HEAD",
		},
		{
			Name: "idempotent as text",
			Type: "danaconnect:api:call",
			Raw:  `{"method":"GET","path":"a","idempotent":"no"}`,
			Want: "idempotent must be true or false",
		},
		{
			Name: "values as an object",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":1,"values":{"B":"2","A":"1"},"type":1,"length":6}`,
			Want: "",
		},
		{
			Name: "values not text",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":1,"values":{"A":1},"type":1,"length":6}`,
			Want: "values must hold texts; A is none",
		},
		{
			Name: "values null",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":1,"values":null,"type":1,"length":6}`,
			Want: "values must be a list of {key, value} or an object",
		},
		{
			Name: "values empty",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":1,"values":[],"type":1,"length":6}`,
			Want: "values must have at least 1 entry",
		},
		{
			Name: "values twice",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":1,"values":[{"key":"A","value":"1"},{"key":"A","value":"2"}],"type":1,"length":6}`,
			Want: "values has the key A twice",
		},
		{
			Name: "value without key",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":1,"values":[{"value":"1"}],"type":1,"length":6}`,
			Want: "values has no key or no value in entry 0",
		},
		{
			Name: "ranges",
			Type: "danaconnect:otp:send",
			Raw:  `{"idConversation":-1,"values":{"A":"1"},"type":3,"length":13,"secondsExpiration":3600,"maximumTries":0}`,
			Want: "idConversation must be at least 1; length must be at most 12; maximumTries must be at least 1; secondsExpiration must be at most 3200; type must be at most 2",
		},
		{
			Name: "id as a number",
			Type: "danaconnect:otp:verify",
			Raw:  `{"idRequest":251,"otp":"004217"}`,
			Want: "",
		},
		{
			Name: "id as text",
			Type: "danaconnect:otp:verify",
			Raw:  `{"idRequest":"251","otp":"004217"}`,
			Want: "",
		},
		{
			Name: "id no number",
			Type: "danaconnect:otp:verify",
			Raw:  `{"idRequest":"25x","otp":"1"}`,
			Want: "idRequest must be digits only",
		},
		{
			Name: "id null",
			Type: "danaconnect:otp:verify",
			Raw:  `{"idRequest":null,"otp":"1"}`,
			Want: "idRequest must be a number or text",
		},
		{
			Name: "code as a number",
			Type: "danaconnect:otp:verify",
			Raw:  `{"idRequest":251,"otp":4217}`,
			Want: "otp must be text",
		},
	})
}

// Of many wrong rows only the first ones are named.
func TestManyWrongRows(t *testing.T) {
	t.Parallel()
	many := `{"tableCode":"T","fieldsCode":["A"],"rows":[` + strings.Repeat(`[],`, 30) + `[]]}`
	info, _ := tasks.Vendors{danaconnect.Vendor}.Find("danaconnect:contacts:load")
	if _, err := info.Decode([]byte(many)); err == nil || strings.Count(err.Error(), ";") != 10 ||
		!strings.Contains(err.Error(), "more than 10 rows") {
		t.Errorf("many wrong rows: %v", err)
	}
}

func TestConversationStart(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	start := func(data string) danaconnect.ConversationStart {
		return danaconnect.ConversationStart{IDProject: "4711", Data: danaconnect.Fields{"COD1_EMAIL": data}}
	}
	run := func(data string, faults ...sandbox.Fault) (tasks.Reply, error) {
		t.Helper()
		for _, fault := range faults {
			fault.Op, fault.Times = danaconnecttest.OpStart, 1
			vendor.Inject(fault)
		}
		ticket, err := tasks.Enqueue(t.Context(), c, start(data), tasks.Key("k-"+data))
		if err != nil {
			t.Fatal(err)
		}
		return apptest.Wait(t, ticket)
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
		"a 503 that asks for more": {sandbox.Fault{Status: 503, RetryAfter: "1"}, tasks.Done, 1},
		"a 503 of a gateway":       {sandbox.Fault{Status: 503, AfterEffect: true}, tasks.Unknown, 1},
		"a 303 after the work":     {sandbox.Fault{Status: 303, AfterEffect: true}, tasks.Unknown, 1},
	} {
		_, err := run(data, tt.fault)
		if apptest.Outcome(err) != tt.want || vendor.EffectsOf(danaconnecttest.OpStart, data) != tt.effects {
			t.Errorf(
				"%s: ended %s with %d starts, want %s with %d",
				data,
				apptest.Outcome(err),
				vendor.EffectsOf(danaconnecttest.OpStart, data),
				tt.want,
				tt.effects,
			)
		}
	}
}

func TestContactsLoad(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	ticket := apptest.EnqueueJSON(t, c, "danaconnect:contacts:load", `{"tableCode":"CUSTOMERS","fieldsCode":["EMAIL","AGE"],"rows":[["a@example.com",7],["b, \"B\"",12345678901234567890]],"strict":true}`)
	if raw, err := apptest.Wait(t, ticket); err != nil || !strings.Contains(string(raw), `"status":200`) {
		t.Errorf("%s, %v", raw, err)
	}
	want := [][]string{{"a@example.com", "7"}, {`b, "B"`, "12345678901234567890"}}
	if loads := vendor.Loads(); len(loads) != 1 || !slices.EqualFunc(loads[0].Rows, want, slices.Equal) ||
		loads[0].Strict != "true" {
		t.Errorf("the vendor has %+v", loads)
	}
	vendor.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpLoad,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	again, err := tasks.Enqueue(
		t.Context(),
		c,
		danaconnect.ContactsLoad{TableCode: "CUSTOMERS", FieldsCode: []string{"E"}, Rows: [][]danaconnect.Cell{{"x"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, again); apptest.Outcome(err) != tasks.Unknown || len(vendor.Loads()) != 2 {
		t.Errorf("ended %s with %d loads", apptest.Outcome(err), len(vendor.Loads()))
	}
}

func TestDANAConnectCall(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	run := func(raw string) (tasks.Reply, tasks.Outcome) {
		t.Helper()
		data, err := apptest.Wait(t, apptest.EnqueueJSON(t, c, "danaconnect:api:call", raw))
		var answer tasks.Reply
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer, apptest.Outcome(err)
	}
	made, ended := run(`{"method":"POST","path":"records","body":{"n":12345678901234567890,"t":"<&>"}}`)
	if ended != tasks.Done || made.Status != 201 || string(made.Body) != `{"id":"1"}` ||
		string(vendor.Record("1")) != `{"n":12345678901234567890,"t":"<&>"}` {
		t.Errorf("%s %+v, the vendor has %s", ended, made, vendor.Record("1"))
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
		vendor.Inject(sandbox.Fault{
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

// Values from Go are checked like those from JSON.
func TestGoValuesOfFreeCalls(t *testing.T) {
	t.Parallel()
	_, c := start(t)
	if _, err := tasks.Enqueue(t.Context(), c, danaconnect.APICall{Method: "GET", Path: "records", Query: freecall.Query{"a": 1, "b": []string{"x"}, "c": true}}); err != nil {
		t.Error(err)
	}
	for name, q := range map[string]freecall.Query{
		"a map":   {"a": map[string]int{}},
		"nil":     {"a": nil},
		"a func":  {"a": func() {}},
		"no name": {"": 1},
	} {
		if _, err := tasks.Enqueue(t.Context(), c, danaconnect.APICall{Method: "GET", Path: "records", Query: q}); err == nil ||
			errors.Is(err, tasks.ErrUnknownType) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sendTo(mail string) danaconnect.OTPSend {
	return danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: mail}},
	}
}

func TestADroppedAnswerIsUnknownAndNeverRepeated(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	vendor.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpSend,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	ticket, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"), tasks.Key("k"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, ticket); apptest.Outcome(err) != tasks.Unknown {
		t.Errorf("ended %s, want unknown", apptest.Outcome(err))
	}
	if n := vendor.Calls(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	again, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"), tasks.Key("k"))
	if err != nil || !again.Duplicate || again.ID != ticket.ID {
		t.Errorf("after unknown the key must stay taken: %+v, %v", again, err)
	}
}

func TestTwentyProducersWithOneKeySendOneCode(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	var all sync.WaitGroup
	tickets := make(chan *tasks.Ticket[danaconnect.OTPSent], 20)
	for range 20 {
		all.Go(func() {
			ticket, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"), tasks.Key("login-1"))
			if err != nil {
				t.Error(err)
				return
			}
			tickets <- ticket
		})
	}
	all.Wait()
	close(tickets)
	results := map[string]bool{}
	for ticket := range tickets {
		sent, err := apptest.Wait(t, ticket)
		if err != nil {
			t.Error(err)
		}
		results[ticket.ID+" "+sent.IDRequest] = true
	}
	if len(results) != 1 || vendor.Effects(danaconnecttest.OpSend) != 1 {
		t.Errorf("results %v, %d codes", results, vendor.Effects(danaconnecttest.OpSend))
	}
}

func TestOneKeyHoldsForBothWaysToWriteAPayload(t *testing.T) {
	t.Parallel()
	c := apptest.New(t).Client(t)
	first := apptest.EnqueueJSON(t, c, "danaconnect:otp:send", `{"idConversation":1,"values":{"A":"1"},"type":1,"length":6}`, tasks.Key("k"))
	second := apptest.EnqueueJSON(t, c, "danaconnect:otp:send", `{"length":6,"type":1,"values":[{"key":"A","value":"1"}],"idConversation":1}`, tasks.Key("k"))
	if second.ID != first.ID || !second.Duplicate {
		t.Errorf("second = %+v", second)
	}
}
