package annatest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/webtest"
)

const (
	tokenPath      = "REST/Credentials/GetToken"
	hashPath       = "REST/AnnACorporate/User/UserHash"
	forcePath      = "REST/AnnACorporate/User/UserHashForced"
	inactivatePath = "REST/AnnACorporate/User/Inactivate"
	structurePath  = "REST/AnnACorporate/Messenger/Structure"
	alertsPath     = "REST/AnnACorporate/Messenger/AlertCounter"
	requestsPath   = "REST/AnnACorporate/Messenger/Requests"
	linkPath       = "REST/AnnACorporate/Messenger/Link"
)

// Bodies as the vendor's page shows them.
const (
	loginBody      = `{"hash":"sandbox-company","user":"sandbox-user","pass":"sandbox-password"}`
	hashBody       = `{"hash":"sandbox-company","userId":"u1","startService":""}`
	forceBody      = `{"hash":"sandbox-company","userId":"u1","userName":"Ana","startService":""}`
	inactivateBody = `{"hash":"sandbox-company","userId":"u1"}`
	structureBody  = `{"hash":"sandbox-company"}`
	linkBody       = `{"hash":"sandbox-company","userId":"u1","userDocType":"","userDocValue":""}`
	alertsBody     = `{"hash":"sandbox-company","userId":"u1","userDocType":"","userDocValue":"","messengerFilters":{` +
		`"departmentAlias":"","channelAlias":"","dataIni":"01/01/2024","dataFim":"31/12/2024",` +
		`"status":"A","pendentes":"S"}}`
)

// request is a request of a test. Without method and contentType it is as the
// vendor's page shows it.
type request struct {
	method        string
	path          string
	contentType   string // "none" leaves the header out
	authorization string
	body          string
}

type answer struct {
	status       int
	Success      *bool
	Message      string
	AccessData   map[string]string
	AlertCounter *int
	Data         struct{ Token, ExpiresIn string }
}

func send(t *testing.T, base string, r request) answer {
	t.Helper()
	if r.method == "" {
		r.method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, base+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.contentType != "none" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.contentType != "" && r.contentType != "none" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.authorization != "" {
		req.Header.Set("Authorization", r.authorization)
	}
	status, raw := clientstest.Send(t, req)
	out := answer{status: status}
	if len(raw) > 0 {
		_ = json.Unmarshal(raw, &out)
	}
	return out
}

func serve(t *testing.T, o annatest.Options) (*annatest.Sandbox, string) {
	t.Helper()
	sb := annatest.New(o)
	sb.PutUser("u1", true)
	sb.PutToken("good")
	return sb, clientstest.Serve(t, sb, "/anna/")
}

func TestStrictness(t *testing.T) {
	t.Parallel()
	const bearer = "Bearer good"
	login := func(body string) request {
		return request{path: tokenPath, body: body}
	}
	authorized := func(path, body string) request {
		return request{path: path, authorization: bearer, body: body}
	}
	with := func(body, old, replacement string) string {
		return strings.Replace(body, old, replacement, 1)
	}
	tests := []struct {
		name   string
		send   request
		status int
		ok     bool
	}{
		{"login", login(loginBody), 200, true},
		{"hash", authorized(hashPath, hashBody), 200, true},
		{"inactivate", authorized(inactivatePath, inactivateBody), 200, true},
		{"alerts", authorized(alertsPath, alertsBody), 200, true},
		{"forced hash", authorized(forcePath, forceBody), 200, true},
		{"structure", authorized(structurePath, structureBody), 200, true},
		{"requests", authorized(requestsPath, alertsBody), 200, true},
		{"link", authorized(linkPath, linkBody), 200, true},
		{"forced hash without a name", authorized(forcePath, hashBody), 400, false},
		{"forced hash with an empty name", authorized(forcePath, with(forceBody, "Ana", "")), 200, false},
		{"structure with an extra field", authorized(structurePath, inactivateBody), 400, false},
		{"requests without filters", authorized(requestsPath, linkBody), 400, false},
		{"requests, other status", authorized(requestsPath, with(alertsBody, `"A"`, `"C"`)), 400, false},
		{"link with filters", authorized(linkPath, alertsBody), 400, false},
		{"link without a document", authorized(linkPath, inactivateBody), 400, false},
		{"unknown user's link", authorized(linkPath, with(linkBody, "u1", "u9")), 200, false},
		{
			"charset",
			request{path: tokenPath, contentType: "application/json; charset=utf-8", body: loginBody},
			200,
			true,
		},

		{"GET", request{method: http.MethodGet, path: tokenPath}, 405, false},
		{"PUT", request{
			method:        http.MethodPut,
			path:          inactivatePath,
			authorization: bearer,
			body:          inactivateBody,
		}, 405, false},
		{
			"form",
			request{path: tokenPath, contentType: "application/x-www-form-urlencoded", body: loginBody},
			415,
			false,
		},
		{"no content type", request{
			path:          inactivatePath,
			authorization: bearer,
			contentType:   "none",
			body:          inactivateBody,
		}, 415, false},
		{"trailing slash", authorized(inactivatePath+"/", inactivateBody), 404, false},

		{"login with an extra field", login(with(loginBody, `{`, `{"x":"",`)), 400, false},
		{"login with a missing field", login(`{"hash":"sandbox-company","user":"sandbox-user"}`), 400, false},
		{"login in other casing", login(with(loginBody, `hash`, `Hash`)), 400, false},
		{"login that is not JSON", login(`hash=1`), 400, false},
		{"login that is null", login(`null`), 400, false},
		{"wrong password", login(with(loginBody, "sandbox-password", "x")), 200, false},
		{"wrong user", login(with(loginBody, "sandbox-user", "x")), 200, false},
		{"wrong company at login", login(with(loginBody, "sandbox-company", "x")), 200, false},

		{"no token", request{path: inactivatePath, body: inactivateBody}, 401, false},
		{"unknown token", request{path: inactivatePath, authorization: "Bearer bad", body: inactivateBody}, 401, false},
		{"no Bearer", request{path: inactivatePath, authorization: "good", body: inactivateBody}, 401, false},
		{"Basic", request{path: inactivatePath, authorization: "Basic good", body: inactivateBody}, 401, false},
		{"wrong company", authorized(inactivatePath, with(inactivateBody, "sandbox-company", "x")), 200, false},
		{"extra field", authorized(inactivatePath, with(inactivateBody, `{`, `{"userName":"",`)), 400, false},
		{"startService missing", authorized(hashPath, inactivateBody), 400, false},
		{"ID as a number", authorized(inactivatePath, `{"hash":"sandbox-company","userId":1}`), 400, false},
		{"unknown user", authorized(inactivatePath, with(inactivateBody, "u1", "u9")), 200, false},
		{"unknown user's hash", authorized(hashPath, with(hashBody, "u1", "u9")), 200, false},
		{"unknown user's alerts", authorized(alertsPath, with(alertsBody, "u1", "u9")), 200, false},
		{"no filters", authorized(alertsPath, inactivateBody), 400, false},
		{"extra filter", authorized(alertsPath, with(alertsBody, `"status"`, `"x":"","status"`)), 400, false},
		{"missing filter", authorized(alertsPath, with(alertsBody, `"status":"A",`, ``)), 400, false},
		{"other status", authorized(alertsPath, with(alertsBody, `"A"`, `"C"`)), 400, false},
		{"two statuses", authorized(alertsPath, with(alertsBody, `"A"`, `"AE"`)), 400, false},
		{"other flag", authorized(alertsPath, with(alertsBody, `"S"`, `"Y"`)), 400, false},
		{"month first", authorized(alertsPath, with(alertsBody, `31/12/2024`, `12/31/2024`)), 400, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, base := serve(t, annatest.Options{})
			got := send(t, base, tt.send)
			if got.status != tt.status || (got.Success != nil && *got.Success) != tt.ok {
				t.Errorf("HTTP %d, %+v, want %d, success %v", got.status, got, tt.status, tt.ok)
			}
			if effects := sb.Counts().Effects; !tt.ok && len(effects) != 0 {
				t.Errorf("a refused call has effects: %v", effects)
			}
		})
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, annatest.Options{RefuseRepeat: true})
	sb.PutUser("u0", false)
	post := func(path, body string) answer {
		return send(t, base, request{path: path, authorization: "Bearer good", body: body})
	}
	first := post(hashPath, hashBody)
	second := post(hashPath, hashBody)
	if first.AccessData["Hash"] == "" || first.AccessData["Hash"] == second.AccessData["Hash"] {
		t.Errorf("two hashes %q and %q, want two different ones", first.AccessData["Hash"], second.AccessData["Hash"])
	}
	if !sb.Active("u1") || !*post(inactivatePath, inactivateBody).Success || sb.Active("u1") {
		t.Error("the inactivation did not happen")
	}
	if repeat := post(inactivatePath, inactivateBody); *repeat.Success ||
		repeat.Message != "User sandbox-company@u1 is already inactive." {
		t.Errorf("the repeat was answered with %+v", repeat)
	}
	if late := post(hashPath, hashBody); *late.Success || late.Message != "User sandbox-company@u1 is inactive." {
		t.Errorf("an inactive user got %+v", late)
	}
	want := []annatest.User{{UserID: "u0"}, {UserID: "u1", Hashes: 2, Inactivations: 1}}
	if got := sb.Users(); !slices.Equal(got, want) {
		t.Errorf("users %+v, want %+v", got, want)
	}
}

func TestRepeatedInactivationIsConfirmedByDefault(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, annatest.Options{})
	for range 2 {
		got := send(t, base, request{path: inactivatePath, authorization: "Bearer good", body: inactivateBody})
		if got.Success == nil || !*got.Success {
			t.Fatalf("answered with %+v", got)
		}
	}
	if n := sb.EffectsOf(annatest.OpInactivate, "u1"); n != 2 {
		t.Errorf("%d inactivations counted, want 2", n)
	}
}

func TestDocumentAlerts(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, annatest.Options{})
	sb.SetDocumentAlerts("CPF", "001", 4)
	byDocument := strings.NewReplacer(
		`"u1"`, `""`,
		`"userDocType":""`, `"userDocType":"CPF"`,
		`"userDocValue":""`, `"userDocValue":"001"`,
	).Replace(alertsBody)
	got := send(t, base, request{path: alertsPath, authorization: "Bearer good", body: byDocument})
	if got.AlertCounter == nil || *got.AlertCounter != 4 {
		t.Errorf("answered with %+v, want 4 alerts", got)
	}
}

func TestInvalidTokens(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, http.StatusForbidden, http.StatusOK} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			sb, base := serve(
				t,
				annatest.Options{RefusedStatus: status, TokenLife: time.Minute, Now: func() time.Time { return now }},
			)
			try := func(token string) answer {
				return send(t, base, request{path: inactivatePath, authorization: "Bearer " + token, body: inactivateBody})
			}
			wantStatus := status
			if status == 0 {
				wantStatus = http.StatusUnauthorized
			}
			refused := func(when string, got answer) {
				t.Helper()
				if got.status != wantStatus || got.Success == nil || *got.Success {
					t.Errorf("%s: HTTP %d, %+v, want %d and success:false", when, got.status, got, wantStatus)
				}
			}
			login := send(t, base, request{path: tokenPath, body: loginBody})
			if got := try(login.Data.Token); got.Success == nil || !*got.Success {
				t.Fatalf("a fresh token was refused: %+v", got)
			}
			now = now.Add(time.Minute)
			refused("expired", try(login.Data.Token))

			login = send(t, base, request{path: tokenPath, body: loginBody})
			sb.RevokeTokens()
			refused("revoked", try(login.Data.Token))

			login = send(t, base, request{path: tokenPath, body: loginBody})
			sb.Inject(sandbox.Fault{Op: annatest.OpInactivate, ExpireToken: true, Times: 1})
			refused("revoked by a fault", try(login.Data.Token))
			if n := sb.EffectsOf(annatest.OpToken, "sandbox-user"); n != 3 {
				t.Errorf("%d logins counted, want 3", n)
			}
		})
	}
}

func TestControlAPI(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, annatest.Options{})
	control := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+"_sandbox/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := webtest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var out bytes.Buffer
		if _, err := out.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(out.String())
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPut, "users/a%2Fb", `{"active":true}`, 204},
		{http.MethodPut, "users/u1", `{"active":false}`, 204},
		{http.MethodPut, "users/u1", `{"activ":false}`, 400},
		{http.MethodPut, "alerts/a%2Fb", `{"alertCounter":3}`, 204},
		{http.MethodPut, "alerts/u9", `{"alertCounter":3}`, 404},
		{http.MethodPost, "revoke", ``, 204},
	} {
		if status, text := control(tt.method, tt.path, tt.body); status != tt.status {
			t.Errorf("%s %s: HTTP %d %s, want %d", tt.method, tt.path, status, text, tt.status)
		}
	}
	want := `[{"userId":"a/b","active":true,"alertCounter":3,"hashes":0,"forcedHashes":0,"inactivations":0},` +
		`{"userId":"u1","active":false,"alertCounter":0,"hashes":0,"forcedHashes":0,"inactivations":0}]`
	if status, text := control(http.MethodGet, "users", ""); status != http.StatusOK || text != want {
		t.Errorf("users: HTTP %d %s, want %s", status, text, want)
	}
	got := send(t, base, request{path: inactivatePath, authorization: "Bearer good", body: inactivateBody})
	if got.status != http.StatusUnauthorized {
		t.Errorf("a revoked token was answered with HTTP %d", got.status)
	}
	if n := sb.Calls(annatest.OpInactivate); n != 1 {
		t.Errorf("%d calls counted, want 1", n)
	}
}
