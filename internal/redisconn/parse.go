package redisconn

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"errand.internal/internal/secret"
)

const (
	redisPort    = "6379"
	sentinelPort = "26379"
)

// Parse reads a REDIS_URL:
//
//	redis://user:pass@host:port/db              (rediss:// for TLS)
//	redis-sentinel://:pass@h1:26379,h2:26379/db?master=name
//	redis-cluster://user:pass@h1:6379,h2:6379   (rediss-cluster:// for TLS)
//
// User and password are optional and percent-encoded. IPv6 addresses are
// written in brackets. Ports default to 6379, those of sentinels to 26379, db
// to 0.
//
// The user and password of redis-sentinel are those of the data nodes. The
// sentinels get the password too, without the user: a sentinel without a
// password accepts any. If they have their own login, it goes into the
// parameters sentinel_username and sentinel_password.
//
// With TLS the parameters cert and key name the PEM files of a client certificate.
//
// TLS trusts the system's authorities, or those of SSL_CERT_FILE, and verifies
// the name of the host that is dialled.
//
// An error names REDIS_URL and the broken rule. It shows no part of the URL,
// because a password may be anywhere in it.
func Parse(rawURL string) (*Target, error) {
	t, rule := parse(rawURL)
	if rule != "" {
		return nil, fmt.Errorf("REDIS_URL: %s", rule)
	}
	return t, nil
}

func parse(rawURL string) (t *Target, rule string) {
	if rawURL == "" {
		return nil, "is empty; for example redis://127.0.0.1:6379/0"
	}
	if strings.ContainsFunc(rawURL, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, "must not contain spaces, line ends or control characters"
	}
	scheme, rest, found := strings.Cut(rawURL, "://")
	if !found {
		return nil, schemeRule
	}
	if t = withScheme(strings.ToLower(scheme)); t == nil {
		return nil, schemeRule
	}
	// net/url accepts one host only, and its errors quote the whole URL.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(tail, "@") {
		return nil, encodingRule
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if rule = t.setLogin(authority[:i]); rule != "" {
			return nil, rule
		}
		authority = authority[i+1:]
	}
	if rule = t.setHosts(authority); rule != "" {
		return nil, rule
	}
	if rule = t.setTail(tail); rule != "" {
		return nil, rule
	}
	return t, ""
}

const (
	schemeRule = "must begin with redis://, rediss://, redis-sentinel://, redis-cluster:// or rediss-cluster://"

	encodingRule = "special characters in the user name and the password must be percent-encoded " +
		"(/ as %2F, ? as %3F, # as %23, @ as %40)"
)

func withScheme(scheme string) *Target {
	switch scheme {
	case "redis":
		return &Target{mode: Single}
	case "rediss":
		return &Target{mode: Single, tls: true}
	case "redis-sentinel":
		return &Target{mode: Sentinel}
	case "redis-cluster":
		return &Target{mode: Cluster}
	case "rediss-cluster":
		return &Target{mode: Cluster, tls: true}
	default:
		return nil
	}
}

func (t *Target) setLogin(login string) (rule string) {
	user, password, _ := strings.Cut(login, ":")
	var err error
	// PathUnescape, because a + in the login of a URL means itself.
	if t.user, err = url.PathUnescape(user); err != nil {
		return "the user name has a % without two hexadecimal digits; write % as %25"
	}
	if password, err = url.PathUnescape(password); err != nil {
		return "the password has a % without two hexadecimal digits; write % as %25"
	}
	if t.user != "" && password == "" {
		// go-redis logs in only with a password. A forgotten one must not lead to
		// the default user.
		return "names a user without a password; write user:password@, or :password@ without a user"
	}
	t.password = secret.New(password)
	t.sentinelPassword = t.password
	return ""
}

func (t *Target) setHosts(hosts string) (rule string) {
	port := redisPort
	if t.mode == Sentinel {
		port = sentinelPort
	}
	for i, host := range strings.Split(hosts, ",") {
		addr, rule := address(host, port)
		if rule != "" {
			return fmt.Sprintf("host %d %s", i+1, rule)
		}
		if slices.Contains(t.addrs, addr) {
			return fmt.Sprintf("host %d is named twice", i+1)
		}
		t.addrs = append(t.addrs, addr)
	}
	if t.mode == Single && len(t.addrs) > 1 {
		return "names several hosts; that needs redis-cluster:// or redis-sentinel://"
	}
	return ""
}

// address parses host[:port] and adds the default port.
func address(text, port string) (addr, rule string) {
	host := text
	switch {
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return "", "has a [ without ]"
		}
		host = text[1:end]
		ip, err := netip.ParseAddr(strings.Replace(host, "%25", "%", 1))
		if err != nil || !ip.Is6() {
			return "", "has something other than an IPv6 address in brackets"
		}
		host = ip.String()
		switch after, found := strings.CutPrefix(text[end+1:], ":"); {
		case found:
			port = after
		case text[end+1:] != "":
			return "", "has something other than a port after the IPv6 address"
		}
	case strings.Count(text, ":") > 1:
		return "", "has several colons; write an IPv6 address in brackets, as in [::1]:6379"
	default:
		if name, p, found := strings.Cut(text, ":"); found {
			host, port = name, p
		}
		if host == "" {
			return "", "has no name"
		}
		if strings.ContainsFunc(host, notInName) {
			return "", "has a character that is not allowed in a host name"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "has a port that is not a number from 1 to 65535"
	}
	return net.JoinHostPort(host, port), ""
}

func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return r != '.' && r != '-' && r != '_'
}

// setTail parses /db?parameters.
func (t *Target) setTail(tail string) (rule string) {
	if strings.Contains(tail, "#") {
		return "must not contain a #; in a password write it as %23"
	}
	path, query, _ := strings.Cut(tail, "?")
	db := strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if db != "" {
		n, err := strconv.ParseUint(db, 10, 31)
		if err != nil {
			return "the part after the host must be the number of a database, as in /0"
		}
		t.db = int(n)
	}
	if t.mode == Cluster && t.db != 0 {
		return "a cluster has database 0 only"
	}
	return t.setParameters(query)
}

// setClientCert reads the parameters of TLS.
func (t *Target) setClientCert(values url.Values) (rule string) {
	for name, given := range values {
		switch {
		case name != "cert" && name != "key":
			return "has an unknown parameter after ?; known are cert and key"
		case len(given) > 1:
			return "has a parameter twice after ?"
		}
	}
	t.cert = clientCert{values.Get("cert"), values.Get("key")}
	return t.cert.problem()
}

func (t *Target) setParameters(query string) (rule string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "the parameters after ? are not percent-encoded name=value pairs"
	}
	if t.tls {
		return t.setClientCert(values)
	}
	if t.mode != Sentinel {
		if len(values) > 0 {
			return "takes no parameters after ? with this scheme"
		}
		return ""
	}
	for name, given := range values {
		if len(given) > 1 {
			return "has a parameter twice after ?"
		}
		switch name {
		case "master":
			t.master = given[0]
		case "sentinel_username":
			t.sentinelUser = given[0]
		case "sentinel_password":
			t.sentinelPassword = secret.New(given[0])
		default:
			return "has an unknown parameter after ?; known are master, sentinel_username and sentinel_password"
		}
	}
	if t.master == "" {
		return "redis-sentinel:// needs the name of the master, as in ?master=mymaster"
	}
	if t.sentinelUser != "" && !values.Has("sentinel_password") {
		return "sentinel_username needs sentinel_password"
	}
	return ""
}
