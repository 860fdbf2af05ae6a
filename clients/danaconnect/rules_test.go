package danaconnect_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/tokens"
)

// promise is one row of what each code means, written out a second time: the
// test would be empty if it read the table under test.
type promise struct {
	code    string
	done    bool
	kind    clients.Kind
	verdict danaconnect.Verdict
	login   tokens.AuthResult
	message string
}

var promises = map[string][]promise{
	danaconnect.OpSend: {
		{"01", true, 0, danaconnect.None, tokens.Accepted, ""},
		{"03", false, clients.Unknown, danaconnect.None, tokens.Inconclusive, "a code of verify (expired) answers a send"},
		{
			"04",
			false,
			clients.Unknown,
			danaconnect.None,
			tokens.Inconclusive,
			"the vendor failed inside and does not say whether a code went out",
		},
		{"05", false, clients.Temporary, danaconnect.None, tokens.Inconclusive, "the service is under maintenance"},
		{"06", false, clients.Credentials, danaconnect.None, tokens.Refused, "the user or the password is wrong"},
		{"07", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "type must be 1 or 2"},
		{"08", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "length must be 3 to 12"},
		{"09", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "secondsExpiration must be 1 to 3200"},
		{
			"10",
			false,
			clients.Invalid,
			danaconnect.None,
			tokens.Accepted,
			"idConversation is wrong; a conversation that was activated again has a new one",
		},
		{
			"14",
			false,
			clients.Unknown,
			danaconnect.None,
			tokens.Inconclusive,
			"a code of verify (already used) answers a send",
		},
		{"15", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "the request is refused as incorrect"},
		{
			"16",
			false,
			clients.Unknown,
			danaconnect.None,
			tokens.Inconclusive,
			"a code of verify (attempts spent) answers a send",
		},
	},
	danaconnect.OpVerify: {
		{"01", true, 0, danaconnect.Correct, tokens.Accepted, ""},
		{"03", false, clients.Declined, danaconnect.Expired, tokens.Accepted, "the code has expired"},
		{"04", false, clients.Declined, danaconnect.Incorrect, tokens.Accepted, "the code is incorrect"},
		{"05", false, clients.Temporary, danaconnect.None, tokens.Inconclusive, "the service is under maintenance"},
		{"06", false, clients.Credentials, danaconnect.None, tokens.Refused, "the user or the password is wrong"},
		{"07", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "the request is refused: type"},
		{"08", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "the request is refused: length"},
		{"09", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "the request is refused: secondsExpiration"},
		{"10", false, clients.Invalid, danaconnect.None, tokens.Accepted, "the request is refused: idConversation"},
		{"14", false, clients.Declined, danaconnect.Used, tokens.Accepted, "the code was used before"},
		{"15", false, clients.Invalid, danaconnect.None, tokens.Inconclusive, "the request is refused as incorrect"},
		{"16", false, clients.Declined, danaconnect.Locked, tokens.Accepted, "all attempts are spent"},
	},
}

const unlistedCode = "the vendor's page does not list this code"

// undocumented codes are unknown for both operations.
var undocumented = []string{"00", "02", "11", "12", "13", "17", "99", "101", "OK", "E1"}

// body is an answer with a code written as it stands.
func body(code string) *string {
	return new(
		fmt.Sprintf(`{"idRequest":251,"responseCode":%s,"responseDescription":"x","conversationRequestId":"h"}`, code),
	)
}

func TestEveryCodeHasItsMeaning(t *testing.T) {
	t.Parallel()
	for op, rows := range promises {
		for _, code := range undocumented {
			rows = append(rows, promise{code, false, clients.Unknown, danaconnect.None, tokens.Inconclusive, unlistedCode})
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

// A failure code counts whatever the status; only "01" needs a 2xx beside it.
func TestCodeBeforeStatus(t *testing.T) {
	t.Parallel()
	for op, rows := range promises {
		for _, row := range rows {
			for _, status := range []int{201, 302, 400, 401, 403, 404, 429, 500, 503} {
				want, wantVerdict := row.kind, row.verdict
				if row.done && status > 299 {
					want, wantVerdict = clients.Unknown, danaconnect.None
				}
				login := row.login
				switch {
				case row.code == "06" || status == 401:
					login = tokens.Refused
				case status == 403 || status >= 500 || (row.done && status > 299):
					login = tokens.Inconclusive
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

func TestUndocumentedCodeBesideAStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		kind   clients.Kind
		login  tokens.AuthResult
	}{
		{200, clients.Unknown, tokens.Inconclusive},
		{400, clients.Unknown, tokens.Inconclusive},
		{401, clients.Credentials, tokens.Refused},
		{403, clients.Credentials, tokens.Inconclusive},
		{425, clients.RateLimited, tokens.Inconclusive},
		{429, clients.RateLimited, tokens.Inconclusive},
		{500, clients.Unknown, tokens.Inconclusive},
		{503, clients.Unknown, tokens.Inconclusive}, // the vendor's own program answered, so it ran
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
		login  tokens.AuthResult
	}{
		{"401 alone", 401, "", clients.Credentials, tokens.Refused},
		{"401 of a gateway", 401, "<html>login</html>", clients.Credentials, tokens.Refused},
		{"403 alone", 403, "", clients.Credentials, tokens.Inconclusive},
		{"400 with other JSON", 400, `{"message":"no"}`, clients.Invalid, tokens.Inconclusive},
		{"200 with other JSON", 200, `{"message":"no"}`, clients.Unknown, tokens.Inconclusive},
		{"200 with a null code", 200, `{"idRequest":251,"responseCode":null}`, clients.Unknown, tokens.Inconclusive},
		{"200 with an empty code", 200, `{"idRequest":251,"responseCode":" "}`, clients.Unknown, tokens.Inconclusive},
		{
			"200 with a list for a code",
			200,
			`{"idRequest":251,"responseCode":["01"]}`,
			clients.Unknown,
			tokens.Inconclusive,
		},
		{"500 with a web page", 500, "<html>", clients.Unknown, tokens.Inconclusive},
		{"503 alone", 503, "", clients.Temporary, tokens.Inconclusive},
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

func TestAnswersThatContradictThemselves(t *testing.T) {
	t.Parallel()
	for _, id := range []string{``, `"idRequest":null,`, `"idRequest":0,`, `"idRequest":"",`, `"idRequest":"87a9ab9b-5abf",`} {
		t.Run("accepted, but idRequest is "+id, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Body: new(`{` + id + `"responseCode":"01"}`)})
			_, err := f.call(t.Context(), danaconnect.OpSend)
			if e := fault(t, err, clients.Unknown); !strings.Contains(e.Message, "idRequest") || e.Code != "01" ||
				e.Status != http.StatusOK {
				t.Errorf("%v", e)
			}
			f.gate.Expect(t, tokens.Accepted)
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
			verdict, err := f.call(t.Context(), danaconnect.OpVerify)
			if fault(t, err, clients.Unknown); verdict != danaconnect.None {
				t.Errorf("verdict %q on another code", verdict)
			}
		})
	}
	t.Run("verified without an idRequest", func(t *testing.T) {
		t.Parallel()
		f := start(t, danaconnecttest.Options{})
		f.Inject(sandbox.Fault{Op: danaconnecttest.OpVerify, Body: new(`{"responseCode":"01"}`)})
		if verdict, err := f.call(t.Context(), danaconnect.OpVerify); err != nil || verdict != danaconnect.Correct {
			t.Errorf("%q, %v", verdict, err)
		}
	})
	t.Run("a code that is prose stays out of the error", func(t *testing.T) {
		t.Parallel()
		f := start(t, danaconnecttest.Options{})
		f.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Body: new(`{"responseCode":"no code for ana@example.com"}`)})
		_, err := f.call(t.Context(), danaconnect.OpSend)
		fault(t, err, clients.Unknown)
		clientstest.NoLeak(t, err, "ana@example.com")
	})
}

func TestRulesAreACopy(t *testing.T) {
	t.Parallel()
	rules := danaconnect.Rules()
	rules[0].Code = "changed"
	if danaconnect.Rules()[0].Code == "changed" {
		t.Error("Rules gives away the table itself")
	}
}
