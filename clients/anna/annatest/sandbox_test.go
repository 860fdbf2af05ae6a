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
)

const (
	tokenPath  = "REST/Credentials/GetToken"
	hashPath   = "REST/AnnACorporate/User/UserHash"
	closePath  = "REST/AnnACorporate/User/Inactivate"
	alertsPath = "REST/AnnACorporate/Messenger/AlertCounter"

	forcePath     = "REST/AnnACorporate/User/UserHashForced"
	structurePath = "REST/AnnACorporate/Messenger/Structure"
	requestsPath  = "REST/AnnACorporate/Messenger/Requests"
	linkPath      = "REST/AnnACorporate/Messenger/Link"
	forceBody     = `{"hash":"sandbox-company","userId":"u1","userName":"Ana","startService":""}`
	linkBody      = `{"hash":"sandbox-company","userId":"u1","userDocType":"","userDocValue":""}`

	loginBody  = `{"hash":"sandbox-company","user":"sandbox-user","pass":"sandbox-password"}`
	hashBody   = `{"hash":"sandbox-company","userId":"u1","startService":""}`
	closeBody  = `{"hash":"sandbox-company","userId":"u1"}`
	filters    = `{"departmentAlias":"","channelAlias":"","dataIni":"01/01/2024","dataFim":"31/12/2024","status":"A","pendentes":"S"}`
	alertsBody = `{"hash":"sandbox-company","userId":"u1","userDocType":"","userDocValue":"","messengerFilters":` + filters + `}`
)

// request is what a test sends; empty fields take what the page shows.
type request struct {
	method, path, contentType, authorization, body string
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
	tests := []struct {
		name   string
		send   request
		status int
		ok     bool
	}{
		{"login", request{path: tokenPath, body: loginBody}, 200, true},
		{"hash", request{path: hashPath, authorization: bearer, body: hashBody}, 200, true},
		{"inactivate", request{path: closePath, authorization: bearer, body: closeBody}, 200, true},
		{"alerts", request{path: alertsPath, authorization: bearer, body: alertsBody}, 200, true},
		{"forced hash", request{path: forcePath, authorization: bearer, body: forceBody}, 200, true},
		{
			"structure",
			request{path: structurePath, authorization: bearer, body: `{"hash":"sandbox-company"}`},
			200,
			true,
		},
		{"requests", request{path: requestsPath, authorization: bearer, body: alertsBody}, 200, true},
		{"link", request{path: linkPath, authorization: bearer, body: linkBody}, 200, true},
		{"forced hash without a name", request{path: forcePath, authorization: bearer, body: hashBody}, 400, false},
		{
			"forced hash with an empty name",
			request{path: forcePath, authorization: bearer, body: strings.Replace(forceBody, "Ana", "", 1)},
			200,
			false,
		},
		{
			"structure with a field more",
			request{path: structurePath, authorization: bearer, body: closeBody},
			400,
			false,
		},
		{"requests without filters", request{path: requestsPath, authorization: bearer, body: linkBody}, 400, false},
		{
			"requests, other status",
			request{path: requestsPath, authorization: bearer, body: strings.Replace(alertsBody, `"A"`, `"C"`, 1)},
			400,
			false,
		},
		{"link with filters", request{path: linkPath, authorization: bearer, body: alertsBody}, 400, false},
		{"link without a document", request{path: linkPath, authorization: bearer, body: closeBody}, 400, false},
		{
			"unknown user's link",
			request{path: linkPath, authorization: bearer, body: strings.Replace(linkBody, "u1", "u9", 1)},
			200,
			false,
		},
		{
			"charset",
			request{path: tokenPath, contentType: "application/json; charset=utf-8", body: loginBody},
			200,
			true,
		},

		{"GET", request{method: http.MethodGet, path: tokenPath}, 405, false},
		{"PUT", request{
			method:        http.MethodPut,
			path:          closePath,
			authorization: bearer,
			body:          closeBody,
		}, 405, false},
		{
			"form",
			request{path: tokenPath, contentType: "application/x-www-form-urlencoded", body: loginBody},
			415,
			false,
		},
		{"no content type", request{
			path:          closePath,
			authorization: bearer,
			contentType:   "none",
			body:          closeBody,
		}, 415, false},
		{"trailing slash", request{path: closePath + "/", authorization: bearer, body: closeBody}, 404, false},

		{
			"login with a field more",
			request{path: tokenPath, body: strings.Replace(loginBody, `{`, `{"x":"",`, 1)},
			400,
			false,
		},
		{
			"login with a field less",
			request{path: tokenPath, body: `{"hash":"sandbox-company","user":"sandbox-user"}`},
			400,
			false,
		},
		{
			"login in other casing",
			request{path: tokenPath, body: strings.Replace(loginBody, `hash`, `Hash`, 1)},
			400,
			false,
		},
		{"login that is no JSON", request{path: tokenPath, body: `hash=1`}, 400, false},
		{"login that is null", request{path: tokenPath, body: `null`}, 400, false},
		{
			"wrong password",
			request{path: tokenPath, body: strings.Replace(loginBody, "sandbox-password", "x", 1)},
			200,
			false,
		},
		{"wrong user", request{path: tokenPath, body: strings.Replace(loginBody, "sandbox-user", "x", 1)}, 200, false},
		{
			"wrong company at login",
			request{path: tokenPath, body: strings.Replace(loginBody, "sandbox-company", "x", 1)},
			200,
			false,
		},

		{"no token", request{path: closePath, body: closeBody}, 401, false},
		{"unknown token", request{path: closePath, authorization: "Bearer bad", body: closeBody}, 401, false},
		{"no Bearer", request{path: closePath, authorization: "good", body: closeBody}, 401, false},
		{"Basic", request{path: closePath, authorization: "Basic good", body: closeBody}, 401, false},
		{
			"wrong company",
			request{
				path:          closePath,
				authorization: bearer,
				body:          strings.Replace(closeBody, "sandbox-company", "x", 1),
			},
			200,
			false,
		},
		{
			"field more",
			request{
				path:          closePath,
				authorization: bearer,
				body:          strings.Replace(closeBody, `{`, `{"userName":"",`, 1),
			},
			400,
			false,
		},
		{"startService missing", request{path: hashPath, authorization: bearer, body: closeBody}, 400, false},
		{
			"ID as a number",
			request{path: closePath, authorization: bearer, body: `{"hash":"sandbox-company","userId":1}`},
			400,
			false,
		},
		{
			"unknown user",
			request{path: closePath, authorization: bearer, body: strings.Replace(closeBody, "u1", "u9", 1)},
			200,
			false,
		},
		{
			"unknown user's hash",
			request{path: hashPath, authorization: bearer, body: strings.Replace(hashBody, "u1", "u9", 1)},
			200,
			false,
		},
		{
			"unknown user's alerts",
			request{path: alertsPath, authorization: bearer, body: strings.Replace(alertsBody, "u1", "u9", 1)},
			200,
			false,
		},
		{"no filters", request{path: alertsPath, authorization: bearer, body: closeBody}, 400, false},
		{
			"filter more",
			request{
				path:          alertsPath,
				authorization: bearer,
				body:          strings.Replace(alertsBody, `"status"`, `"x":"","status"`, 1),
			},
			400,
			false,
		},
		{
			"filter less",
			request{path: alertsPath, authorization: bearer, body: strings.Replace(alertsBody, `"status":"A",`, ``, 1)},
			400,
			false,
		},
		{
			"other status",
			request{path: alertsPath, authorization: bearer, body: strings.Replace(alertsBody, `"A"`, `"C"`, 1)},
			400,
			false,
		},
		{
			"two statuses",
			request{path: alertsPath, authorization: bearer, body: strings.Replace(alertsBody, `"A"`, `"AE"`, 1)},
			400,
			false,
		},
		{
			"other flag",
			request{path: alertsPath, authorization: bearer, body: strings.Replace(alertsBody, `"S"`, `"Y"`, 1)},
			400,
			false,
		},
		{
			"month first",
			request{
				path:          alertsPath,
				authorization: bearer,
				body:          strings.Replace(alertsBody, `31/12/2024`, `12/31/2024`, 1),
			},
			400,
			false,
		},
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
				t.Errorf("a refused call had effects: %v", effects)
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
	first, second := post(hashPath, hashBody), post(hashPath, hashBody)
	if first.AccessData["Hash"] == "" || first.AccessData["Hash"] == second.AccessData["Hash"] {
		t.Errorf("two hashes %q and %q, want two different ones", first.AccessData["Hash"], second.AccessData["Hash"])
	}
	if !sb.Active("u1") || !*post(closePath, closeBody).Success || sb.Active("u1") {
		t.Error("the inactivation did not happen")
	}
	if repeat := post(closePath, closeBody); *repeat.Success ||
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
		if got := send(t, base, request{path: closePath, authorization: "Bearer good", body: closeBody}); got.Success == nil ||
			!*got.Success {
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
	byDocument := strings.NewReplacer(`"u1"`, `""`, `"userDocType":""`, `"userDocType":"CPF"`, `"userDocValue":""`, `"userDocValue":"001"`).
		Replace(alertsBody)
	got := send(t, base, request{path: alertsPath, authorization: "Bearer good", body: byDocument})
	if got.AlertCounter == nil || *got.AlertCounter != 4 {
		t.Errorf("answered with %+v, want 4 alerts", got)
	}
}

func TestTokensEnd(t *testing.T) {
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
				return send(t, base, request{path: closePath, authorization: "Bearer " + token, body: closeBody})
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
			refused("forgotten", try(login.Data.Token))
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
		resp, err := http.DefaultClient.Do(req)
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
	if got := send(t, base, request{path: closePath, authorization: "Bearer good", body: closeBody}); got.status != http.StatusUnauthorized {
		t.Errorf("a revoked token was answered with HTTP %d", got.status)
	}
	if n := sb.Calls(annatest.OpInactivate); n != 1 {
		t.Errorf("%d calls counted, want 1", n)
	}
}
