package redisconn

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	type want struct {
		mode               Mode
		tls                bool
		addrs              []string
		user, password     string
		db                 int
		master             string
		sentinelUser, spwd string
		redacted           string
	}
	tests := []struct {
		name string
		url  string
		want want
	}{
		{
			name: "default", url: "redis://127.0.0.1:6379/0",
			want: want{mode: Single, addrs: []string{"127.0.0.1:6379"}, redacted: "redis://127.0.0.1:6379/0"},
		},
		{
			name: "host alone", url: "redis://redis",
			want: want{mode: Single, addrs: []string{"redis:6379"}, redacted: "redis://redis:6379/0"},
		},
		{
			name: "user, password and database", url: "redis://worker:pass@redis.example:7000/3",
			want: want{
				mode:     Single,
				addrs:    []string{"redis.example:7000"},
				user:     "worker",
				password: "pass",
				db:       3,
				spwd:     "pass",
				redacted: "redis://worker:[redacted]@redis.example:7000/3",
			},
		},
		{
			name: "tls in capitals", url: "REDISS://:pass@h/",
			want: want{
				mode:     Single,
				tls:      true,
				addrs:    []string{"h:6379"},
				password: "pass",
				spwd:     "pass",
				redacted: "rediss://:[redacted]@h:6379/0",
			},
		},
		{
			name: "percent-encoded", url: "redis://us%3Aer:p%40s%2Fs%3F%23%25%20%2B+%3A%C3%BC@h/1",
			want: want{
				mode:     Single,
				addrs:    []string{"h:6379"},
				user:     "us:er",
				password: "p@s/s?#% ++:ü",
				db:       1,
				spwd:     "p@s/s?#% ++:ü",
				redacted: "redis://us:er:[redacted]@h:6379/1",
			},
		},
		{
			name: "characters that need no encoding", url: "redis://:a:b@c,d&e=f@h",
			want: want{
				mode:     Single,
				addrs:    []string{"h:6379"},
				password: "a:b@c,d&e=f",
				spwd:     "a:b@c,d&e=f",
				redacted: "redis://:[redacted]@h:6379/0",
			},
		},
		{
			name: "empty login", url: "redis://:@h",
			want: want{mode: Single, addrs: []string{"h:6379"}, redacted: "redis://h:6379/0"},
		},
		{
			name: "ipv6", url: "redis://[::1]:7000/0",
			want: want{mode: Single, addrs: []string{"[::1]:7000"}, redacted: "redis://[::1]:7000/0"},
		},
		{
			name: "ipv6 with zone and default port", url: "redis://:p@[fe80::1%25eth0]",
			want: want{
				mode:     Single,
				addrs:    []string{"[fe80::1%eth0]:6379"},
				password: "p",
				spwd:     "p",
				redacted: "redis://:[redacted]@[fe80::1%eth0]:6379/0",
			},
		},
		{
			name: "sentinels of the contract", url: "redis-sentinel://:pass@h1:26379,h2:26379/2?master=name",
			want: want{
				mode:     Sentinel,
				addrs:    []string{"h1:26379", "h2:26379"},
				password: "pass",
				db:       2,
				master:   "name",
				spwd:     "pass",
				redacted: "redis-sentinel://:[redacted]@h1:26379,h2:26379/2?master=name",
			},
		},
		{
			name: "sentinels with their own login",
			url:  "redis-sentinel://u:data@h1,[::2]?master=my+name&sentinel_username=s&sentinel_password=w%40tch",
			want: want{
				mode:         Sentinel,
				addrs:        []string{"h1:26379", "[::2]:26379"},
				user:         "u",
				password:     "data",
				master:       "my name",
				sentinelUser: "s",
				spwd:         "w@tch",
				redacted:     "redis-sentinel://u:[redacted]@h1:26379,[::2]:26379/0?master=my+name",
			},
		},
		{
			name: "cluster", url: "redis-cluster://user:pass@h1:6379,h2",
			want: want{
				mode:     Cluster,
				addrs:    []string{"h1:6379", "h2:6379"},
				user:     "user",
				password: "pass",
				spwd:     "pass",
				redacted: "redis-cluster://user:[redacted]@h1:6379,h2:6379",
			},
		},
		{
			name: "cluster with tls, one seed", url: "rediss-cluster://h1/0",
			want: want{
				mode:     Cluster,
				tls:      true,
				addrs:    []string{"h1:6379"},
				redacted: "rediss-cluster://h1:6379",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target, err := Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			got := want{
				mode:         target.Mode(),
				tls:          target.TLS(),
				addrs:        target.Addrs(),
				user:         target.user,
				password:     target.password.Reveal(),
				db:           target.db,
				master:       target.master,
				sentinelUser: target.sentinelUser,
				spwd:         target.sentinelPassword.Reveal(),
				redacted:     target.Redacted(),
			}
			if !slices.Equal(got.addrs, tt.want.addrs) {
				t.Errorf("addresses %v, want %v", got.addrs, tt.want.addrs)
			}
			got.addrs, tt.want.addrs = nil, nil
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("Parse:\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const canary = "hunter2-canary"
	tests := []struct{ name, url, rule string }{
		{name: "empty", url: "", rule: "is empty"},
		{name: "no scheme", url: canary + ":6379", rule: "must begin with redis://"},
		{name: "other scheme", url: "http://:" + canary + "@h", rule: "must begin with redis://"},
		{name: "password for a scheme", url: canary + "://h", rule: "must begin with redis://"},
		{name: "line end", url: "redis://:" + canary + "@h\n", rule: "must not contain spaces"},
		{name: "space", url: "redis://:" + canary + " x@h", rule: "must not contain spaces"},
		{name: "slash in the password", url: "redis://:" + canary + "/x@h/0", rule: "must be percent-encoded"},
		{name: "question mark in the password", url: "redis://:" + canary + "?x@h/0", rule: "must be percent-encoded"},
		{name: "hash in the password", url: "redis://:" + canary + "#x@h/0", rule: "must be percent-encoded"},
		{name: "hash at the end", url: "redis://:" + canary + "@h/0#" + canary, rule: "must not contain a #"},
		{name: "percent in the password", url: "redis://:" + canary + "%zz@h/0", rule: "password has a %"},
		{name: "percent in the user", url: "redis://%" + canary + ":x@h/0", rule: "user name has a %"},
		{name: "user without password", url: "redis://" + canary + "@h/0", rule: "without a password"},
		{name: "no host", url: "redis://:" + canary + "@/0", rule: "host 1 has no name"},
		{name: "port alone", url: "redis://:" + canary + "@:6379/0", rule: "host 1 has no name"},
		{name: "odd character in the host", url: "redis://" + canary + "!/0", rule: "host 1 has a character"},
		{name: "port is no number", url: "redis://h:" + canary, rule: "host 1 has a port"},
		{name: "port zero", url: "redis://h:0", rule: "host 1 has a port"},
		{name: "port too high", url: "redis://h:65536", rule: "host 1 has a port"},
		{name: "ipv6 without brackets", url: "redis://::1:6379", rule: "in brackets, as in"},
		{name: "open bracket", url: "redis://[::1", rule: "[ without ]"},
		{name: "name in brackets", url: "redis://[" + canary + "]", rule: "than an IPv6 address"},
		{name: "ipv4 in brackets", url: "redis://[127.0.0.1]", rule: "than an IPv6 address"},
		{name: "text behind brackets", url: "redis://[::1]x", rule: "than a port"},
		{name: "several hosts", url: "redis://h1,h2", rule: "redis-cluster:// or redis-sentinel://"},
		{name: "host twice", url: "redis-cluster://h1,h1:6379", rule: "host 2 is named twice"},
		{name: "comma at the end", url: "redis-cluster://h1,", rule: "host 2 has no name"},
		{name: "database is no number", url: "redis://h/" + canary, rule: "number of a database"},
		{name: "negative database", url: "redis://h/-1", rule: "number of a database"},
		{name: "database of a cluster", url: "redis-cluster://h/1", rule: "database 0 only"},
		{name: "parameters", url: "redis://h?password=" + canary, rule: "takes no parameters"},
		{name: "parameters with tls", url: "rediss://h?password=" + canary, rule: "known are cert and key"},
		{name: "cert alone", url: "rediss://h?cert=" + canary, rule: "needs both cert and key"},
		{name: "cert twice", url: "rediss://h?cert=a&cert=b&key=c", rule: "twice"},
		{name: "no such file", url: "rediss-cluster://h?cert=/" + canary + "&key=k", rule: "cannot be read: no such file"},
		{name: "not a certificate", url: "rediss://h?cert=parse.go&key=parse.go", rule: "not a certificate and its key"},
		{name: "cert without tls", url: "redis://h?cert=a&key=b", rule: "takes no parameters"},
		{name: "broken parameters", url: "redis://h?a=%zz" + canary, rule: "percent-encoded name=value"},
		{name: "no master", url: "redis-sentinel://:" + canary + "@h", rule: "needs the name of the master"},
		{name: "empty master", url: "redis-sentinel://h?master=", rule: "needs the name of the master"},
		{name: "two masters", url: "redis-sentinel://h?master=a&master=b", rule: "twice"},
		{name: "unknown parameter", url: "redis-sentinel://h?master=a&" + canary + "=1", rule: "unknown parameter"},
		{
			name: "sentinel user alone",
			url:  "redis-sentinel://:" + canary + "@h?master=a&sentinel_username=s",
			rule: "needs sentinel_password",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target, err := Parse(tt.url)
			if err == nil {
				t.Fatalf("accepted as %v", target)
			}
			text := err.Error()
			if !strings.HasPrefix(text, "REDIS_URL: ") || !strings.Contains(text, tt.rule) {
				t.Errorf("Parse = %q, want REDIS_URL and %q", text, tt.rule)
			}
			if strings.Contains(text, canary) || strings.Contains(text, "\n") {
				t.Errorf("the error shows the URL: %q", text)
			}
		})
	}
}

func TestTargetNeverShowsItsPasswords(t *testing.T) {
	t.Parallel()
	const data, watch = "data-canary", "watch-canary"
	target, err := Parse("redis-sentinel://u:" + data + "@h?master=m&sentinel_password=" + watch)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]any{"target": target})
	if err != nil {
		t.Fatal(err)
	}
	seen := []string{string(encoded), target.String(), target.Redacted()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		seen = append(seen, fmt.Sprintf(verb, target), fmt.Sprintf(verb, struct{ T *Target }{target}))
	}
	for _, text := range seen {
		if strings.Contains(text, data) || strings.Contains(text, watch) {
			t.Errorf("a password shows in %q", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"redis://127.0.0.1:6379/0",
		"rediss://u:p%40@[::1]:1/2",
		"redis-sentinel://:p@a,b/0?master=m",
		"redis-cluster://a:1,b:2",
		"redis://:%",
		"://",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := Parse(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "REDIS_URL: ") {
				t.Errorf("error without the variable: %v", err)
			}
			return
		}
		if target.password.Empty() && target.sentinelPassword.Empty() {
			// Without passwords the redacted form is a URL again, for the same
			// Redis.
			again, err := Parse(target.Redacted())
			if err != nil || again.Redacted() != target.Redacted() {
				t.Errorf("%q reads as %q, and that as %v (%v)", text, target, again, err)
			}
		}
	})
}
