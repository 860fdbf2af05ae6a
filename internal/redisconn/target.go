// Package redisconn turns REDIS_URL into Redis clients. Each part of Errand
// opens a client for its role, with the timeouts and retries that the role
// needs. No other package creates clients.
package redisconn

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"errand.internal/internal/secret"
)

// Mode is the kind of Redis deployment.
type Mode string

// The modes.
const (
	Single   Mode = "single"
	Sentinel Mode = "sentinel"
	Cluster  Mode = "cluster"
)

// Target is a parsed REDIS_URL. Printing one never shows its passwords.
type Target struct {
	mode     Mode
	tls      bool
	addrs    []string // host:port; of the sentinels for Sentinel
	user     string
	password secret.String
	db       int
	roots    *x509.CertPool // nil: the system's
	cert     clientCert

	// For Sentinel only.
	master           string
	sentinelUser     string
	sentinelPassword secret.String
}

// Mode returns the mode that the scheme of the URL names.
func (t *Target) Mode() Mode {
	return t.mode
}

// TLS reports whether connections are encrypted.
func (t *Target) TLS() bool {
	return t.tls
}

// Addrs are the addresses in the URL, as host:port: the server, the sentinels,
// or some of the cluster's nodes.
func (t *Target) Addrs() []string {
	return slices.Clone(t.addrs)
}

// Redacted is the URL with the default ports filled in and the password
// replaced by [redacted], for logs and the doctor.
func (t *Target) Redacted() string {
	var b strings.Builder
	b.WriteString(t.scheme())
	b.WriteString("://")
	if t.user != "" || !t.password.Empty() {
		b.WriteString(url.PathEscape(t.user))
		if !t.password.Empty() {
			b.WriteString(":" + secret.Redacted)
		}
		b.WriteByte('@')
	}
	b.WriteString(strings.Join(t.addrs, ","))
	if t.mode != Cluster {
		b.WriteString("/" + strconv.Itoa(t.db))
	}
	if t.mode == Sentinel {
		b.WriteString("?master=" + url.QueryEscape(t.master))
	}
	return b.String()
}

func (t *Target) scheme() string {
	switch {
	case t.mode == Sentinel:
		return "redis-sentinel"
	case t.mode == Cluster && t.tls:
		return "rediss-cluster"
	case t.mode == Cluster:
		return "redis-cluster"
	case t.tls:
		return "rediss"
	default:
		return "redis"
	}
}

// String implements fmt.Stringer with Redacted.
func (t *Target) String() string {
	return t.Redacted()
}

// Format implements fmt.Formatter with Redacted, because %#v would print the
// fields.
func (t *Target) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(t.Redacted()))
}

// MarshalText implements encoding.TextMarshaler with Redacted.
func (t *Target) MarshalText() ([]byte, error) {
	return []byte(t.Redacted()), nil
}
