package monitor

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/secret"
)

// guard requires the login, or, without one, a client on the same host.
func guard(cfg Config, password func() secret.String, logins *logins, next http.Handler) http.Handler {
	if cfg.User == "" {
		return localOnly(next)
	}
	if password == nil {
		password = func() secret.String { return cfg.Password }
	}
	return requireLogin(cfg.User, password, logins, next)
}

func requireLogin(wanted string, password func() secret.String, logins *logins, next http.Handler) http.Handler {
	wantUser := sha256.Sum256([]byte(wanted))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, given, tried := r.BasicAuth()
		addr := clientOf(r)
		if wait := logins.wait(addr); tried && wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			http.Error(w, "too many failed logins; try again later", http.StatusTooManyRequests)
			return
		}
		gotUser := sha256.Sum256([]byte(user))
		wantPassword := sha256.Sum256([]byte(password().Reveal()))
		gotPassword := sha256.Sum256([]byte(given))
		// Digests have equal lengths and both are always compared, so the timing
		// does not reveal which one is wrong or where.
		userOK := subtle.ConstantTimeCompare(wantUser[:], gotUser[:])
		passwordOK := subtle.ConstantTimeCompare(wantPassword[:], gotPassword[:])
		if userOK&passwordOK != 1 {
			if tried {
				logins.failed(addr)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="Errand monitoring", charset="UTF-8"`)
			http.Error(w, "log in with MONITORING_USER and MONITORING_PASSWORD", http.StatusUnauthorized)
			return
		}
		logins.succeeded(addr)
		next.ServeHTTP(w, r)
	})
}

func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local(r) {
			http.Error(
				w,
				"monitoring without a login is served on this host only, under 127.0.0.1 or localhost; "+
					"set MONITORING_USER and MONITORING_PASSWORD to reach it from elsewhere",
				http.StatusForbidden,
			)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether a request comes from this host and names it. The Host
// header counts because DNS rebinding can make a browser on this host connect
// here under a foreign name. A request through a proxy is not local: the proxy
// hides where its client is. Not every proxy identifies itself, so a setup
// behind one needs the login.
func local(r *http.Request) bool {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil &&
		addr.Addr().Unmap().IsLoopback() &&
		loopbackHost(r.Host) &&
		!proxied(r.Header)
}

// loopbackHost reports whether host[:port] can only mean this host.
func loopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// proxied reports whether a proxy has added its headers.
func proxied(h http.Header) bool {
	for name := range h {
		switch {
		case name == "Forwarded",
			name == "Via",
			name == "X-Real-Ip",
			strings.HasPrefix(name, "X-Forwarded-"):
			return true
		}
	}
	return false
}
