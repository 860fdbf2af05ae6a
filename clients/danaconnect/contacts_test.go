package danaconnect_test

import (
	"encoding/csv"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/tokens"
)

func TestContactsAreLoaded(t *testing.T) {
	t.Parallel()
	rows := [][]string{
		{
			"a@example.com",
			`Tom "T" & Zoë, Jr.`,
		}, {"", ""}, {" spaces ", "a;b,c"}, {"two\nlines", `"`}, {"=1+1", "004217"},
	}
	sb := danaconnecttest.New(danaconnecttest.Options{})
	base := clientstest.Serve(t, sb, danaconnecttest.Mount)
	gate := &clientstest.Gate{}
	answer, err := newContacts(t, base, gate, clients.Limits{}).LoadContacts(t.Context(), danaconnect.Load{
		TableCode:  danaconnecttest.TableCode,
		FieldsCode: []string{"EMAIL", "NAME"},
		Rows:       rows,
		KeyField:   "EMAIL",
		Strict:     new(true),
	})
	if err != nil || !strings.Contains(string(answer.Body), danaconnecttest.TableCode) {
		t.Fatalf("%+v, %v", answer, err)
	}
	gate.Expect(t, tokens.Accepted)
	got := sb.Loads()
	if len(got) != 1 || !slices.EqualFunc(got[0].Rows, rows, slices.Equal) || got[0].OperationType != "INSALL" ||
		got[0].KeyField != "EMAIL" ||
		got[0].Strict != "true" {
		t.Errorf("the vendor has %+v", got)
	}
}

func TestGoldenContactsForm(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]danaconnect.Load{
		"load": {TableCode: danaconnecttest.TableCode, FieldsCode: []string{"EMAIL", "NAME"}, Rows: [][]string{{"a@example.com", `Tom "T", Jr.`}, {"b@example.com", ""}}},
		"load-all": {
			TableCode:     danaconnecttest.TableCode,
			FieldsCode:    []string{"EMAIL"},
			Rows:          [][]string{{"a@example.com"}},
			OperationType: "UPDALL",
			KeyField:      "EMAIL",
			Strict:        new(false),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := danaconnecttest.New(danaconnecttest.Options{})
			c := newContacts(t, clientstest.Serve(t, sb, danaconnecttest.Mount), &clientstest.Gate{}, clients.Limits{})
			for range 2 { // the same load is the same bytes
				if _, err := c.LoadContacts(t.Context(), load); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range sb.Requests(danaconnecttest.OpLoad) {
				if want := "Basic anBlcmV6QGxvcmVtaXBzdW1jb21wYW55OnNhbmRib3gtcGFzc3dvcmQ="; r.Header.Get(
					"Authorization",
				) != want {
					t.Errorf("login %q", r.Header.Get("Authorization"))
				}
				clientstest.GoldenText(t, "testdata/"+name+"-request.txt",
					r.Method+" "+r.URI+"\nContent-Type: "+r.Header.Get("Content-Type")+"\n\n"+string(r.Body))
			}
		})
	}
}

// Two loads that differ anywhere have different boundaries, so that none can
// stand in the other's content.
func TestBoundaryIsOfTheContent(t *testing.T) {
	t.Parallel()
	sb := danaconnecttest.New(danaconnecttest.Options{})
	c := newContacts(t, clientstest.Serve(t, sb, danaconnecttest.Mount), &clientstest.Gate{}, clients.Limits{})
	loads := []danaconnect.Load{someLoad(), someLoad(), someLoad()}
	loads[1].KeyField = "EMAIL"
	loads[2].Rows = [][]string{{mail, "Ana "}}
	seen := map[string]bool{}
	for _, l := range loads {
		if _, err := c.LoadContacts(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range sb.Requests(danaconnecttest.OpLoad) {
		seen[r.Header.Get("Content-Type")] = true
	}
	if len(seen) != 3 {
		t.Errorf("boundaries %v", seen)
	}
}

func TestWhatALoadProvesAboutTheLogin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   tokens.AuthResult
	}{
		{200, `{"status":true}`, tokens.Accepted},
		{200, `{"status":false}`, tokens.Inconclusive},
		{200, `{}`, tokens.Inconclusive},
		{400, `{"status":false}`, tokens.Inconclusive},
		{401, ``, tokens.Refused},
		{401, `{"status":false}`, tokens.Refused},
		{403, ``, tokens.Inconclusive},
		{500, `{"status":true}`, tokens.Inconclusive},
		{503, ``, tokens.Inconclusive},
	} {
		_, gate, _ := loadOp.answered(t, tt.status, tt.body)
		gate.Expect(t, tt.want)
	}
	sb := danaconnecttest.New(danaconnecttest.Options{Logins: map[string]string{"other@company": "x"}})
	gate := &clientstest.Gate{}
	_, err := newContacts(
		t,
		clientstest.Serve(t, sb, danaconnecttest.Mount),
		gate,
		clients.Limits{},
	).LoadContacts(t.Context(), someLoad())
	fault(t, err, clients.Credentials)
	if refused, ok := errors.AsType[*tokens.RefusedError](err); !ok || refused.Profile != config("").Profile().Name {
		t.Errorf("the error does not say what is refused: %#v", err)
	}
	gate.Expect(t, tokens.Refused)
}

func TestGateKeepsLoadsIn(t *testing.T) {
	t.Parallel()
	for _, refusal := range clientstest.Refusals() {
		sb, gate := danaconnecttest.New(danaconnecttest.Options{}), &clientstest.Gate{Err: refusal.Err}
		_, err := newContacts(
			t,
			clientstest.Serve(t, sb, danaconnecttest.Mount),
			gate,
			clients.Limits{},
		).LoadContacts(t.Context(), someLoad())
		if e := refusal.Check(t, err); e.Op != danaconnect.OpLoad || sb.Calls(danaconnecttest.OpLoad) != 0 {
			t.Errorf("%s: %+v, %d calls", refusal.Name, *e, sb.Calls(danaconnecttest.OpLoad))
		}
		gate.Expect(t)
	}
}

func TestRefusedLoads(t *testing.T) {
	t.Parallel()
	for _, statusOK := range []bool{false, true} {
		sb := danaconnecttest.New(danaconnecttest.Options{StatusOK: statusOK, Tables: []string{"OTHER"}})
		_, err := newContacts(
			t,
			clientstest.Serve(t, sb, danaconnecttest.Mount),
			&clientstest.Gate{},
			clients.Limits{},
		).LoadContacts(t.Context(), someLoad())
		fault(t, err, map[bool]clients.Kind{false: clients.Invalid, true: clients.Failed}[statusOK])
		if len(sb.Loads()) != 0 || sb.Effects(danaconnecttest.OpLoad) != 0 {
			t.Error("it was loaded all the same")
		}
	}
	sb := danaconnecttest.New(danaconnecttest.Options{})
	sb.Inject(sandbox.Fault{Op: danaconnecttest.OpLoad, Code: "false"})
	_, err := newContacts(
		t,
		clientstest.Serve(t, sb, danaconnecttest.Mount),
		&clientstest.Gate{},
		clients.Limits{},
	).LoadContacts(t.Context(), someLoad())
	if e := fault(t, err, clients.Failed); e.Status != http.StatusOK {
		t.Errorf("%#v", e)
	}
}

// FuzzCSV: whatever a cell holds, a reader of CSV gets it back.
func FuzzCSV(f *testing.F) {
	f.Add("a", `"quoted", with a comma`)
	f.Add("", "\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\r") {
			return // encoding/csv reads \r\n as \n
		}
		sent := danaconnect.CSV([][]string{{a, b}, {b, a}})
		got, err := csv.NewReader(strings.NewReader(string(sent))).ReadAll()
		if err != nil || !slices.EqualFunc(got, [][]string{{a, b}, {b, a}}, slices.Equal) {
			t.Errorf("%q came back as %q, %v", sent, got, err)
		}
	})
}
