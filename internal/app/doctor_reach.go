package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/vendors"
)

const (
	dnsLimit = 5 * time.Second
	// soonExpired is when a certificate's end is worth a warning: automatic
	// renewal has then failed for a while.
	soonExpired = 14 * 24 * time.Hour
)

// reach resolves the host of a base URL and connects to it, within the limits
// that a call has. It sends no request.
func (d *doctor) reach(
	ctx context.Context,
	name string,
	a vendors.Address,
	limits clients.Timeouts,
) (checks []Check, ok bool) {
	dns := Check{Level: redisguard.OK, Name: name + " dns"}
	conn := Check{Level: redisguard.Warn, Name: name + " connection"}
	base, err := clients.ParseBaseURL(a.Variable, a.URL, true)
	var u *url.URL
	if err == nil {
		u, err = url.Parse(strings.TrimSpace(a.URL))
	}
	if err != nil {
		dns.Level = redisguard.Warn
		dns.Seen = "not checked: " + a.Variable + " is wrong"
		dns.Fix = "correct the settings above"
		conn.Seen, conn.Fix = dns.Seen, dns.Fix
		return []Check{dns, conn}, false
	}
	if dns.Seen, err = d.resolve(ctx, u.Hostname()); err != nil {
		dns.Level = redisguard.Fail
		dns.Fix = "correct the host in " + a.Variable + ", or this machine's name server"
		conn.Seen = "not checked: the host does not resolve"
		conn.Fix = "see dns above"
		return []Check{dns, conn}, false
	}
	conn = d.connect(ctx, u, base.Host(), a.Variable, limits.WithDefaults())
	conn.Name = name + " connection"
	return []Check{dns, conn}, conn.Level != redisguard.Fail
}

func (d *doctor) resolve(ctx context.Context, host string) (seen string, err error) {
	if net.ParseIP(host) != nil {
		return host + " is an address", nil
	}
	ctx, cancel := context.WithTimeout(ctx, dnsLimit)
	defer cancel()
	found, err := d.lookup(ctx, host)
	if err == nil && len(found) == 0 {
		err = errors.New("no address")
	}
	switch {
	case err == nil && len(found) == 1:
		return host + " has 1 address", nil
	case err == nil:
		return fmt.Sprintf("%s has %d addresses", host, len(found)), nil
	case ctx.Err() != nil:
		return "the name server does not answer about " + host, err
	}
	return host + " does not resolve", err
}

// connect opens a connection as the Caller does.
func (d *doctor) connect(
	ctx context.Context,
	u *url.URL,
	shown, variable string,
	limits clients.Timeouts,
) Check {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	began := time.Now()
	dialing, stopDial := context.WithTimeout(ctx, limits.Connect)
	defer stopDial()
	raw, err := d.dial(dialing, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return Check{
			Level: redisguard.Fail,
			Seen:  shown + ": " + dialFault(err, limits.Connect),
			Fix:   "check " + variable + ", and that a firewall lets this machine connect to port " + port + "; proxy variables are not used",
		}
	}
	defer closeQuietly(raw)
	took := func() time.Duration {
		return time.Since(began).Round(time.Millisecond)
	}
	if u.Scheme == "http" {
		if _, err := clients.ParseBaseURL(variable, u.String(), false); err == nil { // to this very machine
			return Check{
				Level: redisguard.OK,
				Seen:  fmt.Sprintf("%s: connected in %s", shown, took()),
			}
		}
		return Check{
			Level: redisguard.Warn,
			Seen: fmt.Sprintf(
				"%s: connected in %s, without TLS: credentials can be read on the way",
				shown,
				took(),
			),
			Fix: "use https in " + variable,
		}
	}
	secure := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: u.Hostname(),
		RootCAs:    d.roots,
		Time:       d.now,
	})
	shaking, stopShake := context.WithTimeout(ctx, limits.TLS)
	defer stopShake()
	if err := secure.HandshakeContext(shaking); err != nil {
		seen, fix := handshakeFault(err, variable, limits.TLS)
		return Check{
			Level: redisguard.Fail,
			Seen:  shown + ": " + seen,
			Fix:   fix,
		}
	}
	state := secure.ConnectionState()
	end := state.PeerCertificates[0].NotAfter
	c := Check{
		Level: redisguard.OK,
		Seen: fmt.Sprintf(
			"%s: %s in %s, certificate until %s",
			shown,
			tls.VersionName(state.Version),
			took(),
			end.UTC().Format(time.DateOnly),
		),
	}
	if left := end.Sub(d.now()); left < soonExpired {
		c.Level = redisguard.Warn
		c.Seen += fmt.Sprintf(" (%d days left)", int(left/(24*time.Hour)))
		c.Fix = "ask the vendor to renew it: when it ends, no call leaves"
	}
	return c
}

func dialFault(err error, limit time.Duration) string {
	switch netErr, isNet := errors.AsType[net.Error](err); {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the host"
	case errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		return fmt.Sprintf("not connected within %s", limit)
	}
	return "cannot connect"
}

func handshakeFault(err error, variable string, limit time.Duration) (seen, fix string) {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok &&
		e.Reason == x509.Expired {
		return "its certificate has expired, or is not valid yet", "check this machine's clock; else the vendor must renew it"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another host", "correct the host in " + variable
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not trusted", "install the system's CA certificates (package ca-certificates), or name the authority in SSL_CERT_FILE"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS there", "correct the port in " + variable
	}
	if netErr, ok := errors.AsType[net.Error](err); errors.Is(
		err,
		context.DeadlineExceeded,
	) ||
		ok && netErr.Timeout() {
		return fmt.Sprintf(
			"no TLS handshake within %s",
			limit,
		), "check " + variable + " and what stands between this machine and the vendor"
	}
	return "the TLS handshake failed", "check that it speaks TLS 1.2 or newer, and " + variable
}
