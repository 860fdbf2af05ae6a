package contacts_test

import (
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/contacts"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
)

// mail is the contact of these tests.
const mail = "canary-mail@example.com"

// canaries are the secrets and personal data that no error may show.
var canaries = []string{mail, danaconnecttest.Password}

func config(baseURL string) danaconnect.BasicConfig {
	return danaconnect.BasicConfig{
		Username:    danaconnecttest.Username,
		Company:     danaconnecttest.Company,
		Password:    secret.New(danaconnecttest.Password),
		ContactsURL: baseURL + "api/contacts/",
	}
}

func newClient(t *testing.T, baseURL string, gate admission.Gate, timeouts clients.Timeouts) *contacts.Client {
	t.Helper()
	c, err := contacts.New(config(baseURL), gate, clients.NewCaller(danaconnect.Vendor, timeouts, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// load makes one call of sb with exampleLoad.
func load(t *testing.T, sb *danaconnecttest.Sandbox, gate admission.Gate) error {
	t.Helper()
	c := newClient(t, clientstest.Serve(t, sb, danaconnecttest.Mount), gate, clients.Timeouts{})
	_, err := c.Load(t.Context(), exampleLoad())
	return err
}

func exampleLoad() contacts.Load {
	return contacts.Load{
		TableCode:  danaconnecttest.TableCode,
		FieldsCode: []string{"EMAIL", "NAME"},
		Rows:       [][]string{{mail, "Ana"}},
	}
}

func fault(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	return clientstest.Fault(t, err, want, canaries...)
}

func TestSharedRules(t *testing.T) {
	t.Parallel()
	clientstest.Check(t, clientstest.Subject{
		Op:         danaconnecttest.OpLoad,
		Mount:      danaconnecttest.Mount,
		Canaries:   canaries,
		Unreadable: clients.Unknown,
		New: func(*testing.T) clientstest.Sandbox {
			return danaconnecttest.New(danaconnecttest.Options{})
		},
		Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
			c := newClient(t, baseURL, &clientstest.Gate{}, timeouts)
			return func(ctx context.Context) error {
				_, err := c.Load(ctx, exampleLoad())
				return err
			}
		},
	})
}

func TestContactsAreLoaded(t *testing.T) {
	t.Parallel()
	rows := [][]string{
		{"a@example.com", `Tom "T" & Zoë, Jr.`},
		{"", ""},
		{" spaces ", "a;b,c"},
		{"two\nlines", `"`},
		{"=1+1", "004217"},
	}
	sb := danaconnecttest.New(danaconnecttest.Options{})
	base := clientstest.Serve(t, sb, danaconnecttest.Mount)
	gate := &clientstest.Gate{}
	c := newClient(t, base, gate, clients.Timeouts{})
	answer, err := c.Load(t.Context(), contacts.Load{
		TableCode:  danaconnecttest.TableCode,
		FieldsCode: []string{"EMAIL", "NAME"},
		Rows:       rows,
		KeyField:   "EMAIL",
		Strict:     new(true),
	})
	if err != nil || !strings.Contains(string(answer.Body), danaconnecttest.TableCode) {
		t.Fatalf("%+v, %v", answer, err)
	}
	gate.Expect(t, admission.Accepted)
	got := sb.Loads()
	if len(got) != 1 || !slices.EqualFunc(got[0].Rows, rows, slices.Equal) || got[0].OperationType != "INSALL" ||
		got[0].KeyField != "EMAIL" ||
		got[0].Strict != "true" {
		t.Errorf("the vendor has %+v", got)
	}
}

func TestGoldenContactsForm(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]contacts.Load{
		"load": {
			TableCode:  danaconnecttest.TableCode,
			FieldsCode: []string{"EMAIL", "NAME"},
			Rows:       [][]string{{"a@example.com", `Tom "T", Jr.`}, {"b@example.com", ""}},
		},
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
			c := newClient(t, clientstest.Serve(t, sb, danaconnecttest.Mount), &clientstest.Gate{}, clients.Timeouts{})
			for range 2 { // the same load gives the same bytes
				if _, err := c.Load(t.Context(), l); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range sb.Requests(danaconnecttest.OpLoad) {
				// jperez@loremipsumcompany:sandbox-password
				const want = "Basic anBlcmV6QGxvcmVtaXBzdW1jb21wYW55OnNhbmRib3gtcGFzc3dvcmQ="
				if got := r.Header.Get("Authorization"); got != want {
					t.Errorf("login %q, want %q", got, want)
				}
				clientstest.GoldenText(t, "testdata/"+name+"-request.txt",
					r.Method+" "+r.URI+"\nContent-Type: "+r.Header.Get("Content-Type")+"\n\n"+string(r.Body))
			}
		})
	}
}

// TestBoundaryDependsOnTheContent: loads that differ anywhere have different
// boundaries, so that no content can contain its own.
func TestBoundaryDependsOnTheContent(t *testing.T) {
	t.Parallel()
	sb := danaconnecttest.New(danaconnecttest.Options{})
	c := newClient(t, clientstest.Serve(t, sb, danaconnecttest.Mount), &clientstest.Gate{}, clients.Timeouts{})
	loads := []contacts.Load{exampleLoad(), exampleLoad(), exampleLoad()}
	loads[1].KeyField = "EMAIL"
	loads[2].Rows = [][]string{{mail, "Ana "}}
	seen := map[string]bool{}
	for _, l := range loads {
		if _, err := c.Load(t.Context(), l); err != nil {
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

func TestLoginVerdictOfALoad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   admission.Verdict
	}{
		{200, `{"status":true}`, admission.Accepted},
		{200, `{"status":false}`, admission.Inconclusive},
		{200, `{}`, admission.Inconclusive},
		{400, `{"status":false}`, admission.Inconclusive},
		{401, ``, admission.Refused},
		{401, `{"status":false}`, admission.Refused},
		{403, ``, admission.Inconclusive},
		{500, `{"status":true}`, admission.Inconclusive},
		{503, ``, admission.Inconclusive},
	} {
		gate := &clientstest.Gate{}
		transport := clientstest.Canned{Status: tt.status, Body: tt.body}
		caller := clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, transport, nil)
		c, err := contacts.New(config("https://danaconnect.example/"), gate, caller)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Load(t.Context(), exampleLoad())
		gate.Expect(t, tt.want)
	}
	sb := danaconnecttest.New(danaconnecttest.Options{Logins: map[string]string{"other@company": "x"}})
	gate := &clientstest.Gate{}
	err := load(t, sb, gate)
	fault(t, err, clients.Credentials)
	if refused, ok := errors.AsType[*admission.Blocked](err); !ok || refused.Key != config("").Profile().Name {
		t.Errorf("the error does not name the refused credential: %#v", err)
	}
	gate.Expect(t, admission.Refused)
}

func TestNoLoadWhileTheGateRefuses(t *testing.T) {
	t.Parallel()
	for _, refusal := range clientstest.Refusals() {
		sb := danaconnecttest.New(danaconnecttest.Options{})
		gate := &clientstest.Gate{Err: refusal.Err}
		err := load(t, sb, gate)
		if e := refusal.Check(t, err); e.Op != contacts.OpLoad || sb.Calls(danaconnecttest.OpLoad) != 0 {
			t.Errorf("%s: %+v, %d calls", refusal.Name, *e, sb.Calls(danaconnecttest.OpLoad))
		}
		gate.Expect(t)
	}
}

func TestInvalidArgumentsAreNotSent(t *testing.T) {
	t.Parallel()
	c := newClient(t, "https://danaconnect.example/", &clientstest.Gate{}, clients.Timeouts{})
	for name, change := range map[string]func(*contacts.Load){
		"no table":           func(l *contacts.Load) { l.TableCode = "" },
		"table ..":           func(l *contacts.Load) { l.TableCode = ".." },
		"table with a slash": func(l *contacts.Load) { l.TableCode = "a/b" },
		"no fields":          func(l *contacts.Load) { l.FieldsCode = nil },
		"field with ;":       func(l *contacts.Load) { l.FieldsCode = []string{"A;B", "C"} },
		"no rows":            func(l *contacts.Load) { l.Rows = nil },
		"short row":          func(l *contacts.Load) { l.Rows = [][]string{{"x"}} },
		"long row":           func(l *contacts.Load) { l.Rows = [][]string{{"x", "y"}, {"x", "y", "z"}} },
	} {
		l := exampleLoad()
		change(&l)
		_, err := c.Load(t.Context(), l)
		if e := fault(t, err, clients.Invalid); !e.NotSent || e.Message == "" {
			t.Errorf("%s: %#v", name, e)
		}
	}
}

func TestRefusedLoads(t *testing.T) {
	t.Parallel()
	for _, statusOK := range []bool{false, true} {
		sb := danaconnecttest.New(danaconnecttest.Options{StatusOK: statusOK, Tables: []string{"OTHER"}})
		err := load(t, sb, &clientstest.Gate{})
		fault(t, err, map[bool]clients.Kind{false: clients.Invalid, true: clients.Failed}[statusOK])
		if len(sb.Loads()) != 0 || sb.Effects(danaconnecttest.OpLoad) != 0 {
			t.Error("a refused load was stored")
		}
	}
	sb := danaconnecttest.New(danaconnecttest.Options{})
	sb.Inject(sandbox.Fault{Op: danaconnecttest.OpLoad, Code: "false"})
	err := load(t, sb, &clientstest.Gate{})
	if e := fault(t, err, clients.Failed); e.Status != http.StatusOK {
		t.Errorf("%#v", e)
	}
}

// FuzzCSV checks that a CSV reader gets any cell back unchanged.
func FuzzCSV(f *testing.F) {
	f.Add("a", `"quoted", with a comma`)
	f.Add("", "\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\r") {
			return // encoding/csv reads \r\n as \n
		}
		sent := contacts.CSV([][]string{{a, b}, {b, a}})
		got, err := csv.NewReader(strings.NewReader(string(sent))).ReadAll()
		if err != nil || !slices.EqualFunc(got, [][]string{{a, b}, {b, a}}, slices.Equal) {
			t.Errorf("%q came back as %q, %v", sent, got, err)
		}
	})
}
