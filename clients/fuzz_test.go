package clients_test

import (
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// FuzzRetryAfter reads any Retry-After beside any Date. The wait is never negative and
// never above the limit, and it is the one that the header names.
func FuzzRetryAfter(f *testing.F) {
	for _, raw := range []string{
		"120", "0", " 7 ", "-1", "+1", "1.5", "99999999999999999999", "007", "", "120, 60", "٣",
		"Sat, 31 Jan 2026 12:00:30 GMT", "Saturday, 31-Jan-26 12:00:30 GMT", "Sat Jan 31 12:00:30 2026",
		"Sat, 31 Jan 9999 12:00:30 GMT", "Sat, 31 Jan 0001 12:00:30 GMT",
	} {
		f.Add(raw, "Sat, 31 Jan 2026 12:00:00 GMT")
		f.Add(raw, "")
	}
	const limit = time.Hour
	f.Fuzz(func(t *testing.T, raw, date string) {
		h := http.Header{"Retry-After": {raw}}
		now := time.Now()
		if date != "" {
			h.Set("Date", date)
		}
		if at, err := http.ParseTime(date); err == nil {
			now = at
		}
		got := clients.RetryAfter(h, limit)
		if got < 0 || got > limit {
			t.Fatalf("%q: %s", raw, got)
		}
		raw = strings.TrimSpace(raw)
		want := time.Duration(0)
		seconds, isNumber := new(big.Int).SetString(raw, 10)
		at, err := http.ParseTime(raw)
		switch {
		case isNumber && strings.Trim(raw, "0123456789") == "":
			want = limit
			if seconds.Cmp(big.NewInt(int64(limit/time.Second))) < 0 {
				want = time.Duration(seconds.Int64()) * time.Second
			}
		case err == nil:
			want = min(max(at.Sub(now), 0), limit)
		}
		if got-want > time.Second || want-got > time.Second { // the local clock goes on
			t.Errorf("%q, asked at %q: %s, want %s", raw, date, got, want)
		}
	})
}

// FuzzBaseURL parses addresses. An accepted one reaches the host that it shows, over TLS
// or on this machine, and a path joined to it stays on that host. An error quotes
// nothing of a password.
func FuzzBaseURL(f *testing.F) {
	for _, raw := range []string{
		"https://api.example.com/v1/", "http://127.0.0.1:8080", "http://[::1]/", "https://user:canary-password@h/",
		"https://h/?token=canary-password", "https://0.0.0.0/", "https://h:0/", "https://h:/", "http://localhost.:80/a//",
		"https:h", "//h", " https://h ", "https://h\\@evil/", "http://[::ffff:127.0.0.1]/", "https://h/%zz", "https://h%2f.evil/",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		base, err := clients.ParseBaseURL("X_URL", raw, false)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "X_URL: ") || strings.Contains(err.Error(), "canary-password") {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		joined := base.Join("/a/b")
		u, err := url.Parse(joined)
		if err != nil || u.Host != base.Host() || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			!strings.HasSuffix(u.EscapedPath(), "/a/b") || strings.HasSuffix(u.EscapedPath(), "//a/b") {
			t.Fatalf("%q is joined to %q, %v; host %q", raw, joined, err, base.Host())
		}
		if host := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")); u.Scheme != "https" &&
			!strings.HasSuffix(host, "localhost") && !strings.HasPrefix(host, "127.") && !strings.Contains(host, ":") {
			t.Errorf("%q is %s", raw, joined)
		}
		if _, err := http.NewRequestWithContext(t.Context(), http.MethodGet, joined, http.NoBody); err != nil {
			t.Errorf("%q cannot be called: %v", raw, err)
		}
		again, err := clients.ParseBaseURL("X_URL", strings.TrimSuffix(joined, "a/b"), false)
		if err != nil || again.Join("a") != base.Join("a") {
			t.Errorf("%q is %q, and read once more %q, %v", raw, base.Join("a"), again.Join("a"), err)
		}
		if path, err := base.RelativeTo(joined); err != nil || path != "a/b" {
			t.Errorf("%q: %q lies at %q below it, %v", raw, joined, path, err)
		}
	})
}

// FuzzProxy parses addresses of a proxy. What is shown of it never holds the password.
func FuzzProxy(f *testing.F) {
	for _, raw := range []string{
		"http://proxy.example:3128", "http://u:canary-password@h:1/", "http://:canary-password@h:1", "https://h:1", "http://h",
		"http://h:99999", "http://u:canary-password@h:1/path", "http://u:%zz@h:1", "http://[::1]:1", "http:h:1",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := clients.ParseProxy(secret.New(raw))
		switch u, _ := url.Parse(raw); {
		case err != nil:
			if p != nil || err.Error() != "" && !strings.HasPrefix(err.Error(), "OUTBOUND_PROXY: ") ||
				strings.Contains(err.Error(), "canary-password") {
				t.Errorf("%q: %v beside %v", raw, err, p)
			}
		case p == nil:
			if raw != "" {
				t.Errorf("%q is no proxy", raw)
			}
		case u == nil, p.String() != "http://"+u.Host, u.Port() == "", u.Hostname() == "":
			t.Errorf("%q is shown as %s", raw, p)
		}
	})
}

// FuzzDecodeObject reads bodies. A body is read only if it is one JSON object, and a
// field that is read is there once.
func FuzzDecodeObject(f *testing.F) {
	for _, body := range []string{
		`{"id":7,"ok":true}`, `{"id":"007"}`, `{"id":1,"ID":2}`, `{"id":1,"id":1}`, `{"id":null}`, `{}`, `null`, `[]`, ``, `<html>`,
		"\xef\xbb\xbf {\"id\":-1.50e3}\n", `{"id":1}{}`, `{"id":{}}`, `{"ıd":1,"oK":true}`,
	} {
		f.Add(body, false)
		f.Add(body, true)
	}
	f.Fuzz(func(t *testing.T, body string, incomplete bool) {
		var got struct {
			ID clients.Text `json:"id"`
			OK *bool        `json:"ok"`
		}
		err := clients.DecodeObject(&clients.Answer{Status: 200, Body: []byte(body), Incomplete: incomplete}, &got)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(clients.TrimBOM([]byte(body)), &want) != nil || want == nil || incomplete {
			t.Fatalf("%q is read as an object", body)
		}
		id, ok := "", any((*bool)(nil))
		times := map[string]int{}
		for name, raw := range want {
			switch {
			case strings.EqualFold(name, "id"):
				times["id"]++
				if string(raw) != "null" && json.Unmarshal(raw, &id) != nil {
					id = string(raw)
				}
			case strings.EqualFold(name, "ok"):
				times["ok"]++
				var b *bool
				_ = json.Unmarshal(raw, &b)
				ok = b
			}
		}
		if times["id"] > 1 || times["ok"] > 1 || got.ID.String() != id || !reflect.DeepEqual(got.OK, ok) {
			t.Errorf("%q is read as %q, %v", body, got.ID, got.OK)
		}
	})
}
