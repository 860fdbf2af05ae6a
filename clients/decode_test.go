package clients_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"errand.internal/clients"
)

func TestTextDecodesFromStringAndNumber(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, json, want string
	}{
		{"text", `"01"`, "01"},
		{"number", `251`, "251"},
		{"long number", `9223372036854775808123`, "9223372036854775808123"},
		{"negative", `-1`, "-1"},
		{"uuid", `"87a9ab9b-5abf-4802-abfa-e7b891d2a042"`, "87a9ab9b-5abf-4802-abfa-e7b891d2a042"},
		{"escaped", `"\u0031"`, "1"},
		{"null", `null`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got struct{ V clients.Text }
			if err := json.Unmarshal([]byte(`{"V":`+tt.json+`}`), &got); err != nil || got.V.String() != tt.want {
				t.Errorf("%s = %q, %v, want %q", tt.json, got.V, err, tt.want)
			}
		})
	}
	for _, bad := range []string{`true`, `{}`, `[]`} {
		var v clients.Text
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s decoded to %q", bad, v)
		}
	}
}

func TestTextCodeHidesProse(t *testing.T) {
	t.Parallel()
	for text, want := range map[clients.Text]string{
		"01":            "01",
		"E-17.b_":       "E-17.b_",
		"":              "",
		"a@b.mx":        "",
		"5215512345678": "",
		"Jo Doe":        "",
		"ñ":             "",
	} {
		if got := text.Code(); got != want {
			t.Errorf("Code(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestDecodeObjectWantsOneObject(t *testing.T) {
	t.Parallel()
	type reply struct {
		Success bool         `json:"success"`
		Code    clients.Text `json:"code"`
	}
	const canary = "canary"
	tests := []struct {
		name, body string
		incomplete bool
		why        string // "" if it is read
	}{
		{name: "object", body: `{"success":true,"code":1,"more":[]}`},
		{name: "spaces around", body: "\r\n {\"success\":true,\"code\":\"1\"}\n"},
		{name: "byte order mark", body: "\xef\xbb\xbf{\"success\":true,\"code\":1}"},
		{name: "empty", why: "empty"},
		{name: "spaces", body: " \n", why: "empty"},
		{name: "web page", body: "<html>canary</html>", why: "web page"},
		{name: "null", body: " null ", why: "null"},
		{name: "array", body: `[{"success":true}]`, why: "not a JSON object"},
		{name: "text", body: `"canary"`, why: "not a JSON object"},
		{name: "cut off", body: `{"success":true,"code":"canary`, why: "not JSON"},
		{name: "trailing garbage", body: `{"success":true} canary`, why: "not JSON"},
		{name: "two objects", body: `{}{}`, why: "not JSON"},
		{name: "prose", body: "canary", why: "not JSON"},
		{name: "wrong type", body: `{"success":"canary"}`, why: "the field success has an unexpected type"},
		{name: "wrong type of text", body: `{"code":["canary"]}`, why: "the field code has an unexpected type"},
		{name: "twice", body: `{"success":false,"code":1,"success":true}`, why: "the field success is given twice"},
		{name: "twice the same", body: `{"code":1,"code":1,"success":true}`, why: "the field code is given twice"},
		{name: "twice in another case", body: `{"Success":false,"success":true}`, why: "the field success is given twice"},
		{name: "twice escaped", body: `{"success":false,"\u0073uccess":true}`, why: "the field success is given twice"},
		{name: "not text", body: "{\"success\":true,\"code\":\"1\xff\"}", why: "the field code is not valid Unicode text"},
		{name: "twice what is not read", body: `{"success":true,"code":1,"more":1,"more":{"success":0,"success":1}}`},
		{
			name:       "incomplete",
			body:       `{"success":true,"code":1}`,
			incomplete: true,
			why:        "cut off",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got reply
			err := clients.DecodeObject(&clients.Answer{Body: []byte(tt.body), Incomplete: tt.incomplete}, &got)
			switch {
			case tt.why == "" && (err != nil || !got.Success || got.Code != "1"):
				t.Errorf("read %+v, %v", got, err)
			case tt.why != "" && err == nil:
				t.Errorf("read %+v, want an error with %q", got, tt.why)
			case tt.why != "" && (!strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), canary)):
				t.Errorf("error %q, want %q and nothing of the body", err, tt.why)
			}
		})
	}
}

func TestJSONBodyWantsOneValue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, want string
		incomplete       bool
		why              string // "" if it is read
	}{
		{name: "object", body: "\xef\xbb\xbf {\"a\":1}\r\n", want: `{"a":1}`},
		{name: "array", body: "[1]", want: "[1]"},
		{name: "text", body: `"a"`, want: `"a"`},
		{name: "byte order mark only", body: "\xef\xbb\xbf", why: "it is empty"},
		{name: "web page", body: "<html>", why: "it is a web page"},
		{name: "null", body: " null ", why: "it is null"},
		{name: "two values", body: "1 2", why: "it is not JSON"},
		{name: "incomplete", body: "1", incomplete: true, why: "it was cut off or is too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := clients.JSONBody(&clients.Answer{Body: []byte(tt.body), Incomplete: tt.incomplete})
			why := ""
			if err != nil {
				why = err.Error()
			}
			if string(got) != tt.want || why != tt.why {
				t.Errorf("read %q, %q, want %q, %q", got, why, tt.want, tt.why)
			}
		})
	}
	if _, err := clients.JSONBody(&clients.Answer{}); !errors.Is(err, clients.ErrEmptyBody) {
		t.Errorf("an empty body is %v, want ErrEmptyBody", err)
	}
}
