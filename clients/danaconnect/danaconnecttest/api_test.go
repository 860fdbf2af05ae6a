package danaconnecttest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

// call is one request of API 2.0, of its login or of the contact load.
type call struct{ method, path, auth, contentType, body string }

func (c call) do(t *testing.T, base string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, base+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", c.contentType)
	if user, password, basic := strings.Cut(c.auth, ":"); basic {
		req.SetBasicAuth(user, password)
	} else if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	status, raw := clientstest.Send(t, req)
	return status, string(raw)
}

func TestTokenStrictness(t *testing.T) {
	t.Parallel()
	const (
		form  = "application/x-www-form-urlencoded"
		grant = "grant_type=client_credentials"
		// inBody is a grant with the client's credentials in the form.
		inBody = grant + "&client_id=sandbox-client&client_secret=sandbox-secret"
	)
	good := danaconnecttest.ClientID + ":" + danaconnecttest.ClientSecret
	for _, tt := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"good", call{"POST", "oauth2/token", good, form, grant}, 200, `"expires_in":3600,"token_type":"Bearer"`},
		{"charset", call{"POST", "oauth2/token", good, form + "; charset=utf-8", grant}, 200, `"access_token"`},
		{"GET", call{"GET", "oauth2/token", good, form, ""}, 405, ""},
		{"no client", call{"POST", "oauth2/token", "", form, grant}, 401, "invalid_client"},
		{"wrong secret", call{"POST", "oauth2/token", danaconnecttest.ClientID + ":x", form, grant}, 401, "invalid_client"},
		{"client in the body", call{"POST", "oauth2/token", "", form, inBody}, 401, "invalid_client"},
		{"JSON", call{"POST", "oauth2/token", good, "application/json", `{"grant_type":"client_credentials"}`}, 400, "invalid_request"},
		{"another grant", call{"POST", "oauth2/token", good, form, "grant_type=password"}, 400, "unsupported_grant_type"},
		{"extra field", call{"POST", "oauth2/token", good, form, grant + "&scope=x"}, 400, "invalid_request"},
		{"no grant", call{"POST", "oauth2/token", good, form, ""}, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, base := serve(t, danaconnecttest.Options{})
			status, body := tt.call.do(t, base)
			if status != tt.status || !strings.Contains(body, tt.want) ||
				(sb.Effects(danaconnecttest.OpToken) == 1) != (status == 200) {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.want)
			}
		})
	}
}

func TestAPIStrictness(t *testing.T) {
	t.Parallel()
	const (
		start   = "api/2.0/rest/conversation/824541/start/data"
		project = "api/2.0/rest/conversation/ProjectID/4711/start/data"
		bearer  = "Bearer good"
		asJSON  = "application/json"
		data    = `{"A":"1","B":2}`
		login   = danaconnecttest.Username + "@" + danaconnecttest.Company + ":" + danaconnecttest.Password
	)
	for _, tt := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"start", call{"POST", start, bearer, asJSON, data}, 200, `"idResult":0`},
		{"start of a project", call{"POST", project, bearer, asJSON, data}, 200, `"idResult":0`},
		{"no token", call{"POST", start, "", asJSON, data}, 401, "unauthorized user"},
		{"wrong token", call{"POST", start, "Bearer bad", asJSON, data}, 401, "unauthorized user"},
		{"the login of API 1.0", call{"POST", start, login, asJSON, data}, 401, "unauthorized user"},
		{"GET", call{"GET", start, bearer, asJSON, ""}, 405, ""},
		{"form", call{"POST", start, bearer, "application/x-www-form-urlencoded", "A=1"}, 415, ""},
		{"project as conversation", call{"POST", "api/2.0/rest/conversation/4711/start/data", bearer, asJSON, data}, 400, "illegal argument"},
		{"not flat", call{"POST", start, bearer, asJSON, `{"A":{"B":1}}`}, 400, "illegal argument"},
		{"a list", call{"POST", start, bearer, asJSON, `[]`}, 400, "illegal argument"},
		{"no data", call{"POST", start, bearer, asJSON, `{}`}, 400, "illegal argument"},
		{"null", call{"POST", start, bearer, asJSON, `{"A":null}`}, 400, "illegal argument"},
		{"trailing garbage", call{"POST", start, bearer, asJSON, data + "x"}, 400, "illegal argument"},
		{"API 1.0", call{"POST", strings.Replace(start, "2.0", "1.0", 1), bearer, asJSON, data}, 404, ""},
		{"no record", call{"GET", "api/2.0/records/1", bearer, asJSON, ""}, 404, "wsError"},
		{"record that is no object", call{"POST", "api/2.0/records", bearer, asJSON, `[]`}, 400, "wsError"},
		{"records by PUT", call{"PUT", "api/2.0/records", bearer, asJSON, `{}`}, 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, base := serve(t, danaconnecttest.Options{})
			sb.PutToken("good")
			status, body := tt.call.do(t, base)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.want)
			}
			if started := len(sb.Starts()); (started == 1) != (status == 200) ||
				sb.Effects(danaconnecttest.OpStart) != started {
				t.Errorf("%d starts, %d effects", started, sb.Effects(danaconnecttest.OpStart))
			}
		})
	}
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	sb, base := serve(t, danaconnecttest.Options{TokenLife: time.Minute, Now: func() time.Time { return now }})
	login := call{
		method:      "POST",
		path:        "oauth2/token",
		auth:        "sandbox-client:sandbox-secret",
		contentType: "application/x-www-form-urlencoded",
		body:        "grant_type=client_credentials",
	}
	_, body := login.do(t, base)
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		t.Fatal(err)
	}
	list := func() int {
		status, _ := call{"GET", "api/2.0/records", "Bearer " + token.Value, "", ""}.do(t, base)
		return status
	}
	before := list()
	now = now.Add(time.Minute)
	if after := list(); before != 200 || after != 401 {
		t.Errorf("status %d before expiry, %d after", before, after)
	}
	sb.PutToken(token.Value)
	sb.Inject(sandbox.Fault{Op: danaconnecttest.OpCall, ExpireToken: true, Times: 1})
	if status := list(); status != 401 {
		t.Errorf("status %d after all tokens were revoked", status)
	}
}

func TestLoadStrictness(t *testing.T) {
	t.Parallel()
	const login = "jperez@loremipsumcompany:sandbox-password"
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	file := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"c.csv\"\r\n\r\n\"a\",\"b\"\r\n\r\n"
	rest := part("separator", ",") +
		part("delimiter", `"`) +
		part("includeHeaders", "false") +
		part("operationType", "INSALL") +
		part("encodingType", "UTF-8")
	form := file + rest + part("fieldsCode", "A;B") + "--b--\r\n"
	const path, media = "api/contacts/rest/webdb/table/CUSTOMERS", "multipart/form-data; boundary=b"
	for _, tt := range []struct {
		name   string
		call   call
		status int
	}{
		{"good", call{"POST", path, login, media, form}, 200},
		{"no login", call{"POST", path, "", media, form}, 401},
		{"a token", call{"POST", path, "Bearer good", media, form}, 401},
		{"PUT", call{"PUT", path, login, media, form}, 405},
		{"JSON", call{"POST", path, login, "application/json", "{}"}, 415},
		{"another table", call{"POST", "api/contacts/rest/webdb/table/OTHER", login, media, form}, 400},
		{"no file", call{"POST", path, login, media, strings.Replace(form, file, "", 1)}, 400},
		{"file without a name", call{"POST", path, login, media, strings.Replace(form, `; filename="c.csv"`, "", 1)}, 400},
		{"another count of cells", call{"POST", path, login, media, strings.Replace(form, "A;B", "A;B;C", 1)}, 400},
		{"unknown part", call{"POST", path, login, media, strings.Replace(form, `"operationType"`, `"operation"`, 1)}, 400},
		{"duplicate part", call{"POST", path, login, media, strings.Replace(form, rest, rest+part("separator", ","), 1)}, 400},
		{"strict neither", call{"POST", path, login, media, strings.Replace(form, rest, rest+part("strict", "1"), 1)}, 400},
		{"cut off", call{"POST", path, login, media, form[:len(form)-20]}, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, statusOK := range []bool{false, true} {
				sb, base := serve(t, danaconnecttest.Options{StatusOK: statusOK})
				want := tt.status
				if statusOK && want == 400 {
					want = 200
				}
				status, body := tt.call.do(t, base)
				if status != want || strings.Contains(body, `"status":true`) != (tt.status == 200) ||
					(len(sb.Loads()) == 1) != (tt.status == 200) {
					t.Errorf("%d %s, want %d", status, body, want)
				}
			}
		})
	}
}

func TestControlAPIAndInjectedCodes(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, danaconnecttest.Options{LooseTypes: true})
	sb.PutToken("good")
	start := call{
		"POST",
		"api/2.0/rest/conversation/824541/start/data",
		"Bearer good",
		"application/json",
		`{"A":1.50}`,
	}
	if _, body := start.do(t, base); !strings.Contains(body, `"idResult":"0"`) {
		t.Errorf("loose types: %s", body)
	}
	_, starts := call{method: "GET", path: "_sandbox/starts"}.do(t, base)
	if strings.TrimSpace(starts) != `[{"id":"824541","data":{"A":"1.50"}}]` {
		t.Errorf("starts %s", starts)
	}
	if _, body := (call{method: "GET", path: "_sandbox/loads"}).do(t, base); strings.TrimSpace(body) != `[]` {
		t.Errorf("loads %s", body)
	}
	sb.Inject(
		sandbox.Fault{Op: danaconnecttest.OpStart, Code: "7", Times: 1},
		sandbox.Fault{Op: danaconnecttest.OpLoad, Code: "true", Times: 1},
		sandbox.Fault{Op: danaconnecttest.OpToken, Code: "invalid_scope", Times: 1},
	)
	if _, body := start.do(t, base); !strings.Contains(body, `"idResult":"7"`) || len(sb.Starts()) != 1 {
		t.Errorf("code 7: %s", body)
	}
	if _, body := (call{method: "POST", path: "api/contacts/rest/webdb/table/X"}).do(t, base); body != `{"status":true}` {
		t.Errorf("code true: %s", body)
	}
	if status, body := (call{method: "POST", path: "oauth2/token"}).do(t, base); status != 400 ||
		!strings.Contains(body, "invalid_scope") {
		t.Errorf("code invalid_scope: %d %s", status, body)
	}
	if status, _ := (call{method: "POST", path: "_sandbox/revoke"}).do(t, base); status != 204 {
		t.Errorf("revoke: %d", status)
	}
	if status, _ := start.do(t, base); status != 401 {
		t.Errorf("status %d after a revocation", status)
	}
}
