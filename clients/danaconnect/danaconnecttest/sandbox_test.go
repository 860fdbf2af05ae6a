package danaconnecttest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

func serve(t *testing.T, opts danaconnecttest.Options) (*danaconnecttest.Sandbox, string) {
	t.Helper()
	sb := danaconnecttest.New(opts)
	mux := http.NewServeMux()
	sandbox.Mount(mux, danaconnecttest.Mount, sb)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return sb, server.URL + danaconnecttest.Mount
}

type request struct{ method, path, contentType, login, password, body string }

// do sends r; fields that are not set get the values of a valid send.
func do(t *testing.T, base string, r request) (int, map[string]any) {
	t.Helper()
	method := cmp.Or(r.method, http.MethodPost)
	url := base + cmp.Or(r.path, "otp/1.0/send")
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", cmp.Or(r.contentType, "application/json"))
	if r.login != "none" {
		login := cmp.Or(r.login, danaconnecttest.Username+"@"+danaconnecttest.Company)
		req.SetBasicAuth(login, cmp.Or(r.password, danaconnecttest.Password))
	}
	status, raw := clientstest.Send(t, req)
	var answer map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
	}
	return status, answer
}

// good is the body of a valid send.
const good = `{"idConversation":824541,"values":[{"key":"COD1_EMAIL","value":"test@danaconnect.com"}],` +
	`"type":1,"length":6,"secondsExpiration":300}`

func TestStrictness(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const values = `"values":[{"key":"COD1_EMAIL","value":"test@danaconnect.com"}]`
	tests := []struct {
		name   string
		r      request
		status int
		code   any
	}{
		{"good", request{body: good}, 200, "01"},
		{"charset", request{body: good, contentType: "application/json; charset=utf-8"}, 200, "01"},
		{"tries", request{body: with(`"type":1`, `"type":1,"maximumTries":1`)}, 200, "01"},
		{"no login", request{body: good, login: "none"}, 401, "06"},
		{"wrong password", request{body: good, password: "x"}, 401, "06"},
		{"no company", request{body: good, login: danaconnecttest.Username}, 401, "06"},
		{"the % of the vendor's Node sample", request{body: good, password: "%" + danaconnecttest.Password}, 401, "06"},
		{"login is checked first", request{body: "x", password: "x", method: http.MethodPut}, 401, "06"},
		{"GET", request{method: http.MethodGet}, 405, nil},
		{"form", request{body: good, contentType: "application/x-www-form-urlencoded"}, 415, nil},
		{"parameters of the page's table", request{body: with(`"values"`, `"parameters"`)}, 400, "15"},
		{"both names", request{body: with(values, values+`,"parameters":{}`)}, 400, "15"},
		{"values as a map", request{body: with(values, `"values":{"COD1_EMAIL":"x"}`)}, 400, "15"},
		{"values empty", request{body: with(values, `"values":[]`)}, 400, "15"},
		{"values null", request{body: with(values, `"values":null`)}, 400, "15"},
		{"value a number", request{body: with(`"test@danaconnect.com"`, `5`)}, 400, "15"},
		{"value with more fields", request{body: with(`"key":`, `"x":1,"key":`)}, 400, "15"},
		{"type as text", request{body: with(`"type":1`, `"type":"1"`)}, 400, "15"},
		{"length as fraction", request{body: with(`"length":6`, `"length":6.5`)}, 400, "15"},
		{"other case", request{body: with(`"idConversation"`, `"idconversation"`)}, 400, "15"},
		{"type missing", request{body: with(`"type":1,`, ``)}, 400, "15"},
		{"no tries", request{body: with(`"type":1`, `"type":1,"maximumTries":0`)}, 400, "15"},
		{"null", request{body: "null"}, 400, "15"},
		{"empty", request{}, 400, "15"},
		{"trailing garbage", request{body: good + "x"}, 400, "15"},
		{"type 3", request{body: with(`"type":1`, `"type":3`)}, 400, "07"},
		{"length 13", request{body: with(`"length":6`, `"length":13`)}, 400, "08"},
		{"expiration 3201", request{body: with(`:300`, `:3201`)}, 400, "09"},
		{"conversation", request{body: with(`824541`, `824542`)}, 400, "10"},
		{
			"otp unquoted, as in the page's sample",
			request{path: "otp/1.0/verify", body: `{"idRequest":251,"otp":123456}`},
			400,
			"15",
		},
		{"idRequest as text", request{path: "otp/1.0/verify", body: `{"idRequest":"251","otp":"1"}`}, 400, "15"},
		{"no otp", request{path: "otp/1.0/verify", body: `{"idRequest":251}`}, 400, "15"},
		{"unknown request", request{path: "otp/1.0/verify", body: `{"idRequest":251,"otp":"1"}`}, 400, "15"},
		{"path without the base", request{path: "send", body: good}, 404, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, base := serve(t, danaconnecttest.Options{})
			status, answer := do(t, base, tt.r)
			if status != tt.status || answer["responseCode"] != tt.code {
				t.Errorf("%d %v, want %d %v", status, answer, tt.status, tt.code)
			}
			if want := map[bool]int{true: 1}[tt.code == "01"]; sb.Effects(danaconnecttest.OpSend) != want {
				t.Errorf("%d effects, want %d", sb.Effects(danaconnecttest.OpSend), want)
			}
		})
	}
}

func TestGeneratedCodesHaveTheRequestedShape(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, danaconnecttest.Options{})
	seen := map[string]bool{}
	for body, shape := range map[string]string{
		good: `^[0-9]{6}$`,
		strings.Replace(good, `"type":1,"length":6`, `"type":2,"length":12`, 1): `^[2-9A-HJ-NP-Za-km-z]{12}$`,
	} {
		for range 20 {
			_, answer := do(t, base, request{body: body})
			id := fmt.Sprint(answer["idRequest"])
			code := sb.Code(id)
			if !regexp.MustCompile(shape).MatchString(code) {
				t.Fatalf("code %q of request %s, want %s", code, id, shape)
			}
			seen[code] = true
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d different codes of 40", len(seen))
	}
	if got := sb.Code("7"); got != "" {
		t.Errorf("code %q of a request that does not exist", got)
	}
}

func TestControlAPIShowsTheCode(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	sb, base := serve(t, danaconnecttest.Options{Now: func() time.Time { return now }})
	do(t, base, request{body: good})
	status, otp := do(t, base, request{method: http.MethodGet, path: "_sandbox/otps/251"})
	if status != 200 || otp["code"] != sb.Code("251") || otp["recipient"] != "test@danaconnect.com" ||
		otp["expiresAt"] != "2026-05-04T03:07:01Z" {
		t.Errorf("%d %v", status, otp)
	}
	if status, _ := do(t, base, request{method: http.MethodGet, path: "_sandbox/otps/252"}); status != 404 {
		t.Errorf("status %d of a request that does not exist", status)
	}
}

func TestInjectedCodes(t *testing.T) {
	t.Parallel()
	sb, base := serve(t, danaconnecttest.Options{})
	sb.Inject(
		sandbox.Fault{Op: danaconnecttest.OpSend, Times: 1, Code: "01"},
		sandbox.Fault{
			Op:          danaconnecttest.OpSend,
			Times:       1,
			Code:        "04",
			AfterEffect: true,
		},
		sandbox.Fault{
			Op:     danaconnecttest.OpSend,
			Times:  1,
			Code:   "06",
			Status: 200,
		},
		sandbox.Fault{Op: danaconnecttest.OpSend, Times: 1, Code: "05"},
	)
	tests := []struct {
		status  int
		code    string
		id      any
		effects int
	}{
		{200, "01", nil, 0}, // success without an idRequest
		{200, "04", 251.0, 1},
		{200, "06", nil, 1},
		{503, "05", nil, 1},
		{200, "01", 252.0, 2},
	}
	for i, tt := range tests {
		status, answer := do(t, base, request{body: good})
		if status != tt.status || answer["responseCode"] != tt.code || answer["idRequest"] != tt.id ||
			sb.Effects(danaconnecttest.OpSend) != tt.effects {
			t.Errorf(
				"call %d: %d %v, %d effects; want %+v",
				i+1,
				status,
				answer,
				sb.Effects(danaconnecttest.OpSend),
				tt,
			)
		}
	}
}
