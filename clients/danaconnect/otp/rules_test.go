package otp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/clients/sandbox"
)

// promise is the expected meaning of one code, independent of the table under
// test.
type promise struct {
	code    string
	done    bool
	kind    clients.Kind
	verdict otp.Verdict
	login   admission.Verdict
	message string
}

var promises = map[string][]promise{
	otp.OpSend: {
		{"01", true, 0, otp.None, admission.Accepted, ""},
		{"03", false, clients.Unknown, otp.None, admission.Inconclusive, "a code of verify (expired) answers a send"},
		{
			"04",
			false,
			clients.Unknown,
			otp.None,
			admission.Inconclusive,
			"the vendor failed inside and does not say whether a code went out",
		},
		{"05", false, clients.Temporary, otp.None, admission.Inconclusive, "the service is under maintenance"},
		{"06", false, clients.Credentials, otp.None, admission.Refused, "the user or the password is wrong"},
		{"07", false, clients.Invalid, otp.None, admission.Inconclusive, "type must be 1 or 2"},
		{"08", false, clients.Invalid, otp.None, admission.Inconclusive, "length must be 3 to 12"},
		{"09", false, clients.Invalid, otp.None, admission.Inconclusive, "secondsExpiration must be 1 to 3200"},
		{
			"10",
			false,
			clients.Invalid,
			otp.None,
			admission.Accepted,
			"idConversation is wrong; a conversation that was activated again has a new one",
		},
		{
			"14",
			false,
			clients.Unknown,
			otp.None,
			admission.Inconclusive,
			"a code of verify (already used) answers a send",
		},
		{"15", false, clients.Invalid, otp.None, admission.Inconclusive, "the request is refused as incorrect"},
		{
			"16",
			false,
			clients.Unknown,
			otp.None,
			admission.Inconclusive,
			"a code of verify (attempts spent) answers a send",
		},
	},
	otp.OpVerify: {
		{"01", true, 0, otp.Correct, admission.Accepted, ""},
		{"03", false, clients.Declined, otp.Expired, admission.Accepted, "the code has expired"},
		{"04", false, clients.Declined, otp.Incorrect, admission.Accepted, "the code is incorrect"},
		{"05", false, clients.Temporary, otp.None, admission.Inconclusive, "the service is under maintenance"},
		{"06", false, clients.Credentials, otp.None, admission.Refused, "the user or the password is wrong"},
		{"07", false, clients.Invalid, otp.None, admission.Inconclusive, "the request is refused: type"},
		{"08", false, clients.Invalid, otp.None, admission.Inconclusive, "the request is refused: length"},
		{"09", false, clients.Invalid, otp.None, admission.Inconclusive, "the request is refused: secondsExpiration"},
		{"10", false, clients.Invalid, otp.None, admission.Accepted, "the request is refused: idConversation"},
		{"14", false, clients.Declined, otp.Used, admission.Accepted, "the code was used before"},
		{"15", false, clients.Invalid, otp.None, admission.Inconclusive, "the request is refused as incorrect"},
		{"16", false, clients.Declined, otp.Locked, admission.Accepted, "all attempts are spent"},
	},
}

const unlistedCode = "the vendor's page does not list this code"

// undocumented are codes that neither operation lists.
var undocumented = []string{"00", "02", "11", "12", "13", "17", "99", "101", "OK", "E1"}

// body returns an answer with code as its raw JSON.
func body(code string) *string {
	return new(
		fmt.Sprintf(`{"idRequest":251,"responseCode":%s,"responseDescription":"x","conversationRequestId":"h"}`, code),
	)
}

func TestMeaningOfEveryCode(t *testing.T) {
	t.Parallel()
	for op, rows := range promises {
		for _, code := range undocumented {
			rows = append(rows, promise{code, false, clients.Unknown, otp.None, admission.Inconclusive, unlistedCode})
		}
		for _, row := range rows {
			forms := []string{`"` + row.code + `"`}
			if digit, ok := strings.CutPrefix(row.code, "0"); ok {
				forms = append(forms, digit, `"`+digit+`"`)
			} else if strings.Trim(row.code, "0123456789") == "" {
				forms = append(forms, row.code)
			}
			for _, form := range forms {
				t.Run(op+" "+form, func(t *testing.T) {
					t.Parallel()
					f := start(t, danaconnecttest.Options{})
					f.Inject(sandbox.Fault{Op: sandboxOp(op), Body: body(form)})
					verdict, err := f.call(t.Context(), op)
					if verdict != row.verdict {
						t.Errorf("verdict %q, want %q", verdict, row.verdict)
					}
					f.gate.Expect(t, row.login)
					if row.done {
						if err != nil {
							t.Errorf("error %v", err)
						}
						return
					}
					if e := fault(t, err, row.kind); e.Code != strings.Trim(form, `"`) || e.Message != row.message ||
						e.NotSent {
						t.Errorf("code %q, message %q, NotSent %v", e.Code, e.Message, e.NotSent)
					}
				})
			}
		}
	}
}

// TestCodePrecedesStatus: a failure code counts whatever the status; only "01"
// needs a 2xx.
func TestCodePrecedesStatus(t *testing.T) {
	t.Parallel()
	for op, rows := range promises {
		for _, row := range rows {
			for _, status := range []int{201, 302, 400, 401, 403, 404, 429, 500, 503} {
				want, wantVerdict := row.kind, row.verdict
				if row.done && status > 299 {
					want, wantVerdict = clients.Unknown, otp.None
				}
				login := row.login
				switch {
				case row.code == "06" || status == 401:
					login = admission.Refused
				case status == 403 || status >= 500 || (row.done && status > 299):
					login = admission.Inconclusive
				}
				t.Run(fmt.Sprint(op, " ", row.code, " with ", status), func(t *testing.T) {
					t.Parallel()
					f := start(t, danaconnecttest.Options{})
					f.Inject(sandbox.Fault{
						Op:         sandboxOp(op),
						Status:     status,
						Body:       body(`"` + row.code + `"`),
						RetryAfter: "11",
					})
					verdict, err := f.call(t.Context(), op)
					if verdict != wantVerdict {
						t.Errorf("verdict %q, want %q", verdict, wantVerdict)
					}
					f.gate.Expect(t, login)
					if row.done && status < 300 {
						if err != nil {
							t.Errorf("error %v", err)
						}
						return
					}
					e := fault(t, err, want)
					if e.Status != status || e.Code != row.code {
						t.Errorf("status %d, code %q", e.Status, e.Code)
					}
					if want == clients.Temporary && e.RetryAfter != 11*time.Second {
						t.Errorf("RetryAfter %v, want the header's 11 s", e.RetryAfter)
					}
				})
			}
		}
	}
}

func TestUndocumentedCodeWithStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		kind   clients.Kind
		login  admission.Verdict
	}{
		{200, clients.Unknown, admission.Inconclusive},
		{400, clients.Unknown, admission.Inconclusive},
		{401, clients.Credentials, admission.Refused},
		{403, clients.Credentials, admission.Inconclusive},
		{425, clients.Blocked, admission.Inconclusive},
		{429, clients.Blocked, admission.Inconclusive},
		{500, clients.Unknown, admission.Inconclusive},
		{503, clients.Unknown, admission.Inconclusive}, // a code proves that the vendor's own program ran
	}
	for op := range promises {
		for _, tt := range tests {
			t.Run(fmt.Sprint(op, " ", tt.status), func(t *testing.T) {
				t.Parallel()
				f := start(t, danaconnecttest.Options{})
				f.Inject(sandbox.Fault{Op: sandboxOp(op), Status: tt.status, Body: body(`"12"`)})
				_, err := f.call(t.Context(), op)
				if e := fault(t, err, tt.kind); e.Code != "12" {
					t.Errorf("code %q, want it kept", e.Code)
				}
				f.gate.Expect(t, tt.login)
			})
		}
	}
}

func TestStatusWithoutACode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		kind   clients.Kind
		login  admission.Verdict
	}{
		{"401 alone", 401, "", clients.Credentials, admission.Refused},
		{"401 of a gateway", 401, "<html>login</html>", clients.Credentials, admission.Refused},
		{"403 alone", 403, "", clients.Credentials, admission.Inconclusive},
		{"400 with other JSON", 400, `{"message":"no"}`, clients.Invalid, admission.Inconclusive},
		{"200 with other JSON", 200, `{"message":"no"}`, clients.Unknown, admission.Inconclusive},
		{"200 with a null code", 200, `{"idRequest":251,"responseCode":null}`, clients.Unknown, admission.Inconclusive},
		{"200 with an empty code", 200, `{"idRequest":251,"responseCode":" "}`, clients.Unknown, admission.Inconclusive},
		{
			"200 with a list for a code",
			200,
			`{"idRequest":251,"responseCode":["01"]}`,
			clients.Unknown,
			admission.Inconclusive,
		},
		{"500 with a web page", 500, "<html>", clients.Unknown, admission.Inconclusive},
		{
			"200 with a code twice",
			200,
			`{"idRequest":251,"responseCode":"05","responseCode":"01"}`,
			clients.Unknown,
			admission.Inconclusive,
		},
		{"200 with the id twice", 200, `{"idRequest":1,"idRequest":251,"responseCode":"01"}`, clients.Unknown, admission.Inconclusive},
		{"503 alone", 503, "", clients.Unknown, admission.Inconclusive},
		{"503 of a gateway", 503, "<html>", clients.Unknown, admission.Inconclusive},
	}
	for op := range promises {
		for _, tt := range tests {
			t.Run(op+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				f := start(t, danaconnecttest.Options{})
				f.Inject(sandbox.Fault{Op: sandboxOp(op), Status: tt.status, Body: new(tt.body)})
				_, err := f.call(t.Context(), op)
				if e := fault(t, err, tt.kind); e.Code != "" {
					t.Errorf("code %q of an answer without one", e.Code)
				}
				f.gate.Expect(t, tt.login)
			})
		}
	}
}

func TestContradictoryAnswers(t *testing.T) {
	t.Parallel()
	for _, id := range []string{``, `"idRequest":null,`, `"idRequest":0,`, `"idRequest":"",`, `"idRequest":"87a9ab9b-5abf",`} {
		t.Run("accepted, but idRequest is "+id, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Body: new(`{` + id + `"responseCode":"01"}`)})
			_, err := f.call(t.Context(), otp.OpSend)
			if e := fault(t, err, clients.Unknown); !strings.Contains(e.Message, "idRequest") || e.Code != "01" ||
				e.Status != http.StatusOK {
				t.Errorf("%v", e)
			}
			f.gate.Expect(t, admission.Accepted)
		})
	}
	for _, code := range []string{"01", "04"} {
		t.Run("verified another code: "+code, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(
				sandbox.Fault{
					Op:   danaconnecttest.OpVerify,
					Body: new(`{"idRequest":252,"responseCode":"` + code + `"}`),
				},
			)
			verdict, err := f.call(t.Context(), otp.OpVerify)
			if fault(t, err, clients.Unknown); verdict != otp.None {
				t.Errorf("verdict %q on another code", verdict)
			}
		})
	}
	t.Run("verified without an idRequest", func(t *testing.T) {
		t.Parallel()
		f := start(t, danaconnecttest.Options{})
		f.Inject(sandbox.Fault{Op: danaconnecttest.OpVerify, Body: new(`{"responseCode":"01"}`)})
		if verdict, err := f.call(t.Context(), otp.OpVerify); err != nil || verdict != otp.Correct {
			t.Errorf("%q, %v", verdict, err)
		}
	})
	t.Run("a code that is prose does not appear in the error", func(t *testing.T) {
		t.Parallel()
		f := start(t, danaconnecttest.Options{})
		f.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Body: new(`{"responseCode":"no code for ana@example.com"}`)})
		_, err := f.call(t.Context(), otp.OpSend)
		fault(t, err, clients.Unknown)
		clientstest.NoLeak(t, err, "ana@example.com")
	})
}

func TestRulesReturnsACopy(t *testing.T) {
	t.Parallel()
	rules := otp.Rules()
	rules[0].Code = "changed"
	if otp.Rules()[0].Code == "changed" {
		t.Error("Rules returns the table itself")
	}
}

// differs makes a call that is answered with the code and describes a difference
// from the promise; "" if there is none.
func (p promise) differs(t *testing.T, op string) string {
	t.Helper()
	f := fixture{gate: &clientstest.Gate{}}
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Timeouts{},
		clientstest.Canned{Status: 200, Body: *body(`"` + p.code + `"`)},
		nil,
	)
	var err error
	if f.client, err = otp.New(config("https://danaconnect.example/"), f.gate, caller); err != nil {
		t.Fatal(err)
	}
	verdict, err := f.call(t.Context(), op)
	e, failed := clients.AsError(err)
	switch login := f.gate.Verdicts(); {
	case verdict != p.verdict:
		return fmt.Sprintf("%s %s: verdict %q, want %q", op, p.code, verdict, p.verdict)
	case len(login) != 1 || login[0] != p.login:
		return fmt.Sprintf("%s %s: the gate hears %v, want %v", op, p.code, login, p.login)
	case failed == p.done, failed && (e.Kind != p.kind || e.Message != p.message):
		return fmt.Sprintf("%s %s: %v, want %s %q", op, p.code, err, p.kind, p.message)
	}
	return ""
}

func TestEveryRowCounts(t *testing.T) {
	differs := func() string {
		for op, rows := range promises {
			for _, code := range undocumented {
				rows = append(
					rows,
					promise{code, false, clients.Unknown, otp.None, admission.Inconclusive, unlistedCode},
				)
			}
			for _, p := range rows {
				if why := p.differs(t, op); why != "" {
					return why
				}
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(t, otp.Table(), differs, func(r otp.Rule, field string) bool {
		switch field {
		case "Kind", "Message":
			return r.Success
		case "Verdict":
			return r.Op == otp.OpSend // which judges no code
		}
		return false
	})
}

// Only the digit that a JSON library loses is restored: any other code is its own.
func TestCodesThatLookAlikeAreNotOne(t *testing.T) {
	t.Parallel()
	for _, code := range []string{`"001"`, `"1.0"`, `1.0`, `"0001"`, `1e0`} {
		f := start(t, danaconnecttest.Options{})
		f.Inject(sandbox.Fault{
			Op:   danaconnecttest.OpSend,
			Body: new(`{"idRequest":251,"responseCode":` + code + `}`),
		})
		_, err := f.call(t.Context(), otp.OpSend)
		if e := fault(t, err, clients.Unknown); !e.Unlisted {
			t.Errorf("code %s counts as listed", code)
		}
	}
}
