package clients_test

import (
	"strings"
	"testing"

	"errand.internal/clients"
)

func TestBaseURLJoin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, base, path, want string
	}{
		{"slash on the base", "https://api.example.com/otp/1.0/", "send", "https://api.example.com/otp/1.0/send"},
		{"no slash", "https://api.example.com/otp/1.0", "send", "https://api.example.com/otp/1.0/send"},
		{"slash on both", "https://api.example.com/otp/1.0//", "/send", "https://api.example.com/otp/1.0/send"},
		{"no path", "https://api.example.com", "REST/x", "https://api.example.com/REST/x"},
		{"port", "https://api.example.com:8443/", "x?a=b", "https://api.example.com:8443/x?a=b"},
		{"escapes stay", "https://api.example.com/a%2Fb/", "x", "https://api.example.com/a%2Fb/x"},
		{"spaces around", " https://api.example.com/\n", "x", "https://api.example.com/x"},
		{"another script", "https://números.example/", "x", "https://números.example/x"},
		{"upper case", "HTTPS://api.example.com/", "x", "https://api.example.com/x"},
		{"loopback name", "http://localhost:8080/anna/", "x", "http://localhost:8080/anna/x"},
		{"loopback v4", "http://127.0.0.2:1", "x", "http://127.0.0.2:1/x"},
		{"loopback v6", "http://[::1]:1/", "x", "http://[::1]:1/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, err := clients.ParseBaseURL("ACME_URL", tt.base, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := base.Join(tt.path); got != tt.want {
				t.Errorf("Join = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBaseURLRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw string
		insecure  bool
		why       string
	}{
		{"empty", " ", false, "not set"},
		{"plain http", "http://api.example.com/", false, "ALLOW_INSECURE_HTTP"},
		{"http that only looks local", "http://localhost.example.com/", false, "ALLOW_INSECURE_HTTP"},
		{"http to a private host", "http://10.0.0.1/", false, "ALLOW_INSECURE_HTTP"},
		{"placeholder", "https://0.0.0.0:2020/v1/", true, "0.0.0.0"},
		{"placeholder over http", "http://0.0.0.0:2020/v1/", false, "0.0.0.0"},
		{"placeholder v6", "https://[::]/", true, "0.0.0.0"},
		{"placeholder mapped", "https://[::ffff:0.0.0.0]/", true, "0.0.0.0"},
		{"no scheme", "api.example.com/otp", false, "https://"},
		{"other scheme", "ftp://api.example.com/", true, "https://"},
		{"no host", "https:///otp", false, "no host"},
		{"percent in the host", "https://api.%2525vv.example/", false, "no host has"},
		{"host that is no text", "https://api.\xd1.example/", false, "no host has"},
		{"zone of an address", "https://[fe80::1%25eth0]/", false, "no host has"},
		{"comma in the host", "https://api.example,com/", false, "no host has"},
		{"only dots", "https://../", false, "no host has"},
		{"opaque", "https:api.example.com", false, "not a URL"},
		{"user", "https://canary:canary@api.example.com/", false, "user or password"},
		{"query", "https://api.example.com/?token=canary", false, "query"},
		{"empty query", "https://api.example.com/?", false, "query"},
		{"fragment", "https://api.example.com/#canary", false, "fragment"},
		{"empty fragment", "https://api.example.com/#", false, "fragment"},
		{"port", "https://api.example.com:70000/", false, "port"},
		{"port zero", "https://api.example.com:0/", false, "port"},
		{"nonsense", "https://canary\x7f/", false, "not a URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, err := clients.ParseBaseURL("ACME_URL", tt.raw, tt.insecure)
			if err == nil {
				t.Fatalf("accepted as %q", base.Join("x"))
			}
			if !strings.HasPrefix(err.Error(), "ACME_URL: ") || !strings.Contains(err.Error(), tt.why) ||
				strings.Contains(err.Error(), "canary") {
				t.Errorf("error %q, want the variable, %q and no part of the URL", err, tt.why)
			}
		})
	}
	if _, err := clients.ParseBaseURL("ACME_URL", "http://api.example.com/", true); err != nil {
		t.Errorf("plain http is allowed here: %v", err)
	}
}
