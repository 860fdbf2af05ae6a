package monitor

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard lets in who knows the login. Without a login it lets in who sits on the
// same host.
func guard(cfg Config, next http.Handler) http.Handler {
	if cfg.User == "" {
		return localOnly(next)
	}
	user, password := sha256.Sum256(
		[]byte(cfg.User),
	), sha256.Sum256(
		[]byte(cfg.Password.Reveal()),
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		givenUser, givenPassword := sha256.Sum256([]byte(u)), sha256.Sum256([]byte(p))
		// Digests have one length, and both are always compared: the time says
		// nothing about which was wrong, nor how much.
		ok := subtle.ConstantTimeCompare(
			user[:],
			givenUser[:],
		) & subtle.ConstantTimeCompare(
			password[:],
			givenPassword[:],
		)
		if ok != 1 {
			w.Header().
				Set("WWW-Authenticate", `Basic realm="Errand monitoring", charset="UTF-8"`)
			http.Error(
				w,
				"log in with MONITORING_USER and MONITORING_PASSWORD",
				http.StatusUnauthorized,
			)
			return
		}
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

// local reports whether the client is on this host and says so. The name in
// Host is looked at too, because a browser on this host can be made to connect
// here by a site whose name resolves to loopback. A proxy on this host hides
// where its clients are; that it does not always say so is why a login is
// wanted behind one.
func local(r *http.Request) bool {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && addr.Addr().Unmap().IsLoopback() && loopbackHost(r.Host) &&
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

// proxied reports whether a proxy says that it stands between.
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
