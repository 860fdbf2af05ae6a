package clients_test

import (
	"net/url"
	pathpkg "path"
	"strings"
	"testing"

	"errand.internal/clients"
)

func TestResolveWithin(t *testing.T) {
	t.Parallel()
	base, err := clients.ParseBaseURL("X", "https://api.example.com/v1/org/", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"plain", "contacts", "contacts"},
		{"slash in front", "/contacts/1", "contacts/1"},
		{"slash at the end", "contacts/", "contacts/"},
		{"escapes stay", "contacts/a%20b%C3%A5", "contacts/a%20b%C3%A5"},
		{"an escaped percent sign", "contacts/50%25", "contacts/50%25"},
		{"an escaped percent sign before letters", "contacts/50%25zz", "contacts/50%25zz"},
		{"dots in a name", "files/..a.b..", "files/..a.b.."},
		{"three dots", "files/...", "files/..."},
		{"colon", "a:b/c", "a:b/c"},
		{"at", "user@host", "user@host"},
		{"matrix parameter", "a;b=c", "a;b=c"},

		{"empty", "", ""},
		{"a slash alone", "/", ""},
		{"parent", "../x", ""},
		{"parent in the middle", "a/../../x", ""},
		{"parent at the end", "a/..", ""},
		{"parent, staying below the base", "a/../b", ""},
		{"current", "./a", ""},
		{"escaped dots", "%2e%2e/x", ""},
		{"escaped dots, upper case", "%2E%2E/x", ""},
		{"half escaped dots", ".%2e/x", ""},
		{"twice escaped dots", "%252e%252e/x", ""},
		{"three times escaped dots", "%25252e%25252e/x", ""},
		{"parent with a parameter", "..;a=b/x", ""},
		{"escaped slash", "a%2fb", ""},
		{"escaped slash, upper case", "..%2F..%2Fx", ""},
		{"twice escaped slash", "a%252fb", ""},
		{"backslash", `a\b`, ""},
		{"escaped backslash", "a%5c..%5cb", ""},
		{"two slashes", "a//b", ""},
		{"another host", "//evil.example/x", ""},
		{"absolute", "https://evil.example/x", ""},
		{"absolute after a slash", "/https://evil.example/x", ""},
		{"userinfo", "//user:pass@evil.example", ""},
		{"query", "a?b=c", ""},
		{"fragment", "a#b", ""},
		{"escaped control", "a%00b", ""},
		{"escaped line end", "a%0d%0aHost:%20evil", ""},
		{"line end", "a\nb", ""},
		{"space", "a b", ""},
		{"not ASCII", "å", ""},
		{"broken escape", "a%2", ""},
		{"no escape", "a%zz", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := base.ResolveWithin(tt.path)
			if tt.want == "" {
				if err == nil {
					t.Fatalf("ResolveWithin(%q) = %q, want it refused", tt.path, got)
				}
				if strings.Contains(err.Error(), "evil") {
					t.Errorf("the error quotes the path: %v", err)
				}
				return
			}
			if err != nil || got != "https://api.example.com/v1/org/"+tt.want {
				t.Errorf("ResolveWithin(%q) = %q, %v", tt.path, got, err)
			}
		})
	}
}

func TestRelativeTo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, base, raw, want string }{
		{"below", "https://a.example/v1/listener/", "https://a.example/v1/listener/id", "id"},
		{"no slash on the base", "https://a.example/v1/listener", "https://a.example/v1/listener/id", "id"},
		{"host in capitals", "https://a.example/v1/", "https://A.Example/v1/id", "id"},
		{"default port in the URL", "https://a.example/v1/", "https://a.example:443/v1/id", "id"},
		{"default port in the base", "https://a.example:443/v1/", "https://a.example/v1/id", "id"},
		{"plain http", "http://127.0.0.1/v1/", "http://127.0.0.1:80/v1/id", "id"},

		{"another host", "https://a.example/v1/", "https://b.example/v1/id", ""},
		{"longer host", "https://a.example/v1/", "https://a.example.evil/v1/id", ""},
		{"another port", "https://a.example/v1/", "https://a.example:8443/v1/id", ""},
		{"another scheme", "https://a.example/v1/", "http://a.example/v1/id", ""},
		{"beside", "https://a.example/v1/", "https://a.example/v2/id", ""},
		{"same beginning", "https://a.example/v1", "https://a.example/v10/id", ""},
		{"user", "https://a.example/v1/", "https://u:p@a.example/v1/id", ""},
		{"the host as user", "https://a.example/v1/", "https://a.example@evil.example/v1/id", ""},
		{"query", "https://a.example/v1/", "https://a.example/v1/id?token=t", ""},
		{"fragment", "https://a.example/v1/", "https://a.example/v1/id#f", ""},
		{"no host", "https://a.example/v1/", "/v1/id", ""},
		{"opaque", "https://a.example/v1/", "https:a.example/v1/id", ""},
		{"no URL", "https://a.example/v1/", "https://a.example/%zz", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, err := clients.ParseBaseURL("X", tt.base, false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := base.RelativeTo(tt.raw)
			if (err == nil) != (tt.want != "") || got != tt.want {
				t.Errorf("RelativeTo(%q) = %q, %v", tt.raw, got, err)
			}
		})
	}
}

// A server must find every accepted path below the base, even if it unescapes the
// path several times.
func FuzzResolveWithin(f *testing.F) {
	for _, path := range []string{"a/b", "%2e%2e/x", "..;/x", "a%252e", "/x//y", "%25%32%65", `a\b`, "a:b@c"} {
		f.Add(path)
	}
	base, err := clients.ParseBaseURL("X", "https://api.example.com/v1/org/", false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		joined, err := base.ResolveWithin(path)
		if err != nil {
			return
		}
		u, err := url.Parse(joined)
		if err != nil || u.Host != "api.example.com" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("ResolveWithin(%q) = %q", path, joined)
		}
		for seen := u.EscapedPath(); ; { // as a server may see it
			if strings.ContainsAny(seen, "\\\x00\r\n") || !strings.HasPrefix(pathpkg.Clean(seen)+"/", "/v1/org/") {
				t.Fatalf("ResolveWithin(%q) = %q, seen as %q", path, joined, seen)
			}
			plain, err := url.PathUnescape(seen)
			if err != nil || plain == seen {
				return
			}
			seen = plain
		}
	})
}
