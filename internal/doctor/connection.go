package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/netfault"
	"errand.internal/internal/redisguard"
)

const (
	dnsTimeout = 5 * time.Second
	// certificateWarning is how long before its end a certificate is warned about.
	// By then automatic renewal has failed for a while.
	certificateWarning = 14 * 24 * time.Hour
)

// prober connects to hosts.
type prober struct {
	now    func() time.Time
	lookup func(ctx context.Context, host string) ([]string, error)
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	roots  *x509.CertPool // nil: the system's
	proxy  *clients.Proxy // nil: none
}

// addressChecks resolves the host of a base URL and connects to it, within the
// timeouts of a call. It sends no request. ok reports whether the host accepts
// connections.
func (p *prober) addressChecks(
	ctx context.Context,
	name string,
	a account.Address,
	timeouts clients.Timeouts,
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
		conn.Seen = dns.Seen
		conn.Fix = dns.Fix
		return []Check{dns, conn}, false
	}
	if p.proxy.Serves(u) {
		dns.Seen = "left to the proxy " + p.proxy.String()
	} else if dns.Seen, err = p.resolve(ctx, u.Hostname()); err != nil {
		dns.Level = redisguard.Fail
		dns.Fix = "correct the host in " + a.Variable + ", or this machine's name server"
		conn.Seen = "not checked: the host does not resolve"
		conn.Fix = "see dns above"
		return []Check{dns, conn}, false
	}
	conn = p.connect(ctx, endpoint{
		URL:      u,
		shown:    base.Host(),
		variable: a.Variable,
		timeouts: timeouts.WithDefaults(),
	})
	conn.Name = name + " connection"
	return []Check{dns, conn}, conn.Level != redisguard.Fail
}

func (p *prober) resolve(ctx context.Context, host string) (seen string, err error) {
	if net.ParseIP(host) != nil {
		return host + " is an address", nil
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	found, err := p.lookup(ctx, host)
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

// endpoint is a host to connect to.
type endpoint struct {
	*url.URL
	shown    string // its name in a check
	variable string // that sets it
	timeouts clients.Timeouts
}

func (e endpoint) port() string {
	if port := e.Port(); port != "" {
		return port
	}
	if e.Scheme == "http" {
		return "80"
	}
	return "443"
}

func (e endpoint) failed(seen, fix string) Check {
	return Check{
		Level: redisguard.Fail,
		Seen:  e.shown + ": " + seen,
		Fix:   fix,
	}
}

// connect opens a connection as clients.Caller does, and closes it.
func (p *prober) connect(ctx context.Context, to endpoint) Check {
	began := time.Now()
	conn, failed := p.open(ctx, to)
	if conn == nil {
		return failed
	}
	defer func() { _ = conn.Close() }()
	if to.Scheme == "http" {
		return plainCheck(to, time.Since(began))
	}
	return p.handshake(ctx, conn, to, began)
}

// open connects to a host as calls do, through the proxy if there is one. If it
// cannot, it returns the check that says so.
func (p *prober) open(ctx context.Context, to endpoint) (net.Conn, Check) {
	addr := net.JoinHostPort(to.Hostname(), to.port())
	if p.proxy.Serves(to.URL) {
		ctx, cancel := context.WithTimeout(ctx, to.timeouts.Call)
		defer cancel()
		conn, err := p.proxy.Dial(ctx, p.dial, addr)
		if err == nil {
			return conn, Check{}
		}
		seen := clients.ProxyFault(err)
		if seen == "" {
			seen = "the proxy " + p.proxy.String() + ": " + dialFault(err, to.timeouts.Call)
		}
		return nil, to.failed(seen, "correct OUTBOUND_PROXY, or have the proxy permit CONNECT to "+addr)
	}
	ctx, cancel := context.WithTimeout(ctx, to.timeouts.Connect)
	defer cancel()
	conn, err := p.dial(ctx, "tcp", addr)
	if err == nil {
		return conn, Check{}
	}
	return nil, to.failed(
		dialFault(err, to.timeouts.Connect),
		"check "+to.variable+", and that a firewall lets this machine connect to port "+to.port()+
			"; a proxy needs OUTBOUND_PROXY, other proxy variables are not used",
	)
}

// plainCheck is the check of a connection without TLS.
func plainCheck(to endpoint, took time.Duration) Check {
	c := Check{
		Level: redisguard.OK,
		Seen:  fmt.Sprintf("%s: connected in %s", to.shown, took.Round(time.Millisecond)),
	}
	_, err := clients.ParseBaseURL(to.variable, to.String(), false)
	if err != nil { // to another machine
		c.Level = redisguard.Warn
		c.Seen += ", without TLS: credentials can be read on the way"
		c.Fix = "use https in " + to.variable
	}
	return c
}

func (p *prober) handshake(ctx context.Context, conn net.Conn, to endpoint, began time.Time) Check {
	secure := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: to.Hostname(),
		RootCAs:    p.roots,
		Time:       p.now,
	})
	ctx, cancel := context.WithTimeout(ctx, to.timeouts.TLS)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return to.failed(handshakeFault(err, to))
	}
	state := secure.ConnectionState()
	end := state.PeerCertificates[0].NotAfter
	c := Check{
		Level: redisguard.OK,
		Seen: fmt.Sprintf(
			"%s: %s in %s, certificate until %s",
			to.shown,
			tls.VersionName(state.Version),
			time.Since(began).Round(time.Millisecond),
			end.UTC().Format(time.DateOnly),
		),
	}
	if left := end.Sub(p.now()); left < certificateWarning {
		c.Level = redisguard.Warn
		c.Seen += fmt.Sprintf(" (%d days left)", int(left/(24*time.Hour)))
		c.Fix = "ask the vendor to renew it: once it has expired, no call is sent"
	}
	return c
}

func dialFault(err error, timeout time.Duration) string {
	fault := netfault.Of(err)
	if fault == netfault.Timeout {
		return fmt.Sprintf("not connected within %s", timeout)
	}
	return fault.String()
}

func handshakeFault(err error, to endpoint) (seen, fix string) {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isOtherHost := errors.AsType[x509.HostnameError](err)
	switch fault := netfault.Of(err); {
	case isInvalid && invalid.Reason == x509.Expired:
		seen = "its certificate has expired, or is not valid yet"
		fix = "check this machine's clock; else the vendor must renew it"
	case isOtherHost:
		seen = "its certificate is for another host"
		fix = "correct the host in " + to.variable
	case fault == netfault.Untrusted:
		seen = fault.String()
		fix = "install the system's CA certificates (package ca-certificates), or name the authority in SSL_CERT_FILE"
	case fault == netfault.NotTLS:
		seen = fault.String()
		fix = "correct the port in " + to.variable
	case fault == netfault.Timeout:
		seen = fmt.Sprintf("no TLS handshake within %s", to.timeouts.TLS)
		fix = "check " + to.variable + " and the network between this machine and the vendor"
	default:
		seen = "the TLS handshake failed"
		fix = "check " + to.variable + ", and that the vendor offers TLS 1.2 or newer"
	}
	return seen, fix
}
