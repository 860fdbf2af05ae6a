package anna_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/tokens"
)

// FuzzAnswers gives arbitrary answers to every operation and to the login. None
// may panic, fail with an undocumented error, leak a secret, or succeed on an
// answer that does not say so.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"success":true,` + allFields + `}`,
		`{"success":false,"message":"x"}`,
		`{"success":"true"}`,
		`{"success":true,"accessData":{"Hash":7}}`,
		`{"success":true,"data":{"Token":"t","ExpiresIn":"3600"}}`,
		`{"success":true,"data":{"Token":"a.eyJleHAiOjF9.c","ExpiresIn":{}}}`,
		"",
		"null",
		"[]",
		"<html>",
		"\xef\xbb\xbf{}",
		`{"success":true`,
		`{"alertCounter":1e400,"success":true}`,
	} {
		for _, status := range []int{0, 4, 102, 201, 300, 303} { // offsets from 200
			f.Add(status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%800+800)%800 // any final status
		caller := clients.NewCaller(
			anna.Vendor,
			clients.Timeouts{},
			clientstest.Canned{Status: status, Body: string(body)},
			nil,
		)
		cfg := config("https://anna.example/")
		c, err := anna.New(cfg, &source{replay: true}, caller)
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Success json.RawMessage `json:"success"`
		}
		succeeds := status < 300 && json.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &said) == nil &&
			string(said.Success) == "true"
		for _, o := range operations {
			err := o.run(t.Context(), c)
			if err == nil {
				if !succeeds {
					t.Errorf("%s succeeded", o.name)
				}
				continue
			}
			e, ok := clients.AsError(err)
			if !ok || e.NotSent || e.Vendor != anna.Vendor {
				t.Errorf("%s: %#v", o.name, err)
			}
			clientstest.NoLeak(t, err, canaries...)
		}
		login, err := anna.NewLogin(cfg, caller)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := login.Fetch(t.Context())
		switch err := err.(type) { //nolint:errorlint // these two and nothing that wraps them
		case nil:
			if grant.Life <= 0 || grant.Value.Empty() || strings.ContainsAny(grant.Value.Reveal(), " \r\n") || !succeeds {
				t.Errorf("unusable grant: life %v", grant.Life)
			}
		case *tokens.RefusedError, *clients.Error:
			clientstest.NoLeak(t, err, canaries...)
		default:
			t.Errorf("login: %T %v", err, err)
		}
	})
}

// FuzzTokenLife reads any expiry and any token. A life is never longer than either says,
// and never one that no token has.
func FuzzTokenLife(f *testing.F) {
	const jwt = "e30.eyJleHAiOjM2MDAsImlhdCI6MH0.sig" // 3600 s
	for _, text := range []string{
		"3600", "0", "-1", "20300601130000", "20301399000000", "1900000000", "1900000000000", "99999999999999999999",
		"2030-06-01T12:30:00Z", "2030-06-01T09:30:00.5-03:00", "01:00:00", "999:59:59", "1h", "",
	} {
		f.Add(text, jwt, int64(1906545600))
		f.Add(text, "opaque", int64(0))
	}
	f.Add("", "a.eyJleHAiOjFlNDAwLCJpYXQiOjB9.c", int64(1))
	zone := time.FixedZone("BRT", -3*3600)
	f.Fuzz(func(t *testing.T, expiresIn, token string, unix int64) {
		now := time.Unix(unix%(1<<36), 0)
		life := anna.TokenLife(expiresIn, token, now, zone)
		const assumed, longest = 5 * time.Minute, 30 * 24 * time.Hour
		if life <= 0 || life > longest {
			t.Fatalf("%q, %q: %s", expiresIn, token, life)
		}
		if seconds, err := strconv.Atoi(strings.TrimSpace(expiresIn)); err == nil && seconds > 0 && len(expiresIn) < 10 &&
			life > max(time.Duration(seconds)*time.Second, assumed) {
			t.Errorf("%q, %q: %s", expiresIn, token, life)
		}
		if at, err := time.Parse(time.RFC3339, strings.TrimSpace(expiresIn)); err == nil && life > max(at.Sub(now), assumed) {
			t.Errorf("%q at %s, %q: %s", expiresIn, now, token, life)
		}
		if life > time.Hour && token == jwt {
			t.Errorf("%q: %s, and the token lives for an hour", expiresIn, life)
		}
	})
}

// FuzzDate reads dates of a filter. What is sent is a day in the vendor's form.
func FuzzDate(f *testing.F) {
	for _, text := range []string{"31/12/2024", "today", "today-7d", "today-9999d", "31/02/2024", "1/1/2024", "2024-12-31", "today-", ""} {
		f.Add(text, int64(1735689600))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		now := time.Unix((unix%(1<<37)+1<<37)%(1<<37), 0).UTC() // 1970 to 6325
		got, ok := anna.ResolveDate(text, now)
		if !ok || text == "" {
			if text == "" && (got != "" || !ok) {
				t.Errorf("no date is %q, %v", got, ok)
			}
			return
		}
		day, err := time.Parse("02/01/2006", got)
		if err != nil || len(got) != len("31/12/2024") || got != text && day.After(now) {
			t.Errorf("%q at %s is %q, %v", text, now, got, err)
		}
	})
}
