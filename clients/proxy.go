package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"errand.internal/internal/secret"
)

// Proxy is the proxy of OUTBOUND_PROXY. https goes through it with CONNECT, so it
// sees the host and the port of a call and nothing else. Loopback hosts never do,
// nor does plain http, whose credentials the proxy could read. A nil *Proxy is none.
type Proxy struct{ url *url.URL }

// proxyVariable is the setting of the proxy.
const proxyVariable = "OUTBOUND_PROXY"

// ParseProxy parses OUTBOUND_PROXY, http://[user:password@]host:port; nil if it is
// empty. Its error names the variable and quotes nothing.
func ParseProxy(text secret.String) (*Proxy, error) {
	if text.Empty() {
		return nil, nil
	}
	u, err := url.Parse(text.Reveal())
	switch {
	case err != nil, u.Opaque != "", u.Scheme != "http":
		err = errors.New("must be http://host:port or http://user:password@host:port, " +
			"with user and password percent-encoded")
	case !isHost(u.Hostname()) || u.Port() == "" || !isPort(u.Port()):
		err = errors.New("must name host and port, as in http://proxy.example:3128")
	case strings.Trim(u.Path, "/") != "" || strings.ContainsAny(text.Reveal(), "?#"):
		err = errors.New("must end after the port")
	case u.User != nil && u.User.Username() == "":
		err = errors.New("has a password without a user")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", proxyVariable, err)
	}
	return &Proxy{&url.URL{
		Scheme: u.Scheme,
		User:   u.User,
		Host:   u.Host,
	}}, nil
}

// String is the address without user and password; "" for none.
func (p *Proxy) String() string {
	if p == nil {
		return ""
	}
	return p.url.Scheme + "://" + p.url.Host
}

// Format implements fmt.Formatter with String, because %+v would print the fields.
func (p *Proxy) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(p.String()))
}

// Serves reports whether a call of u goes through the proxy.
func (p *Proxy) Serves(u *url.URL) bool {
	return p != nil && u.Scheme == "https" && !isLoopback(u.Hostname())
}

// Transport returns the transport of calls that go through the proxy.
func (p *Proxy) Transport(t Timeouts) *http.Transport {
	transport := newTransport(t.WithDefaults())
	if p == nil {
		return transport
	}
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if !p.Serves(r.URL) {
			return nil, nil
		}
		return p.url, nil
	}
	transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
		return connected(r)
	}
	return transport
}

// ProxyError means that the proxy did not connect a call to its host.
type ProxyError struct{ Status int }

// Error implements error.
func (e *ProxyError) Error() string {
	text := fmt.Sprintf("the proxy of %s refused to connect: status %d", proxyVariable, e.Status)
	if e.Status == http.StatusProxyAuthRequired {
		text += ", it wants another user or password"
	}
	return text
}

func connected(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return &ProxyError{r.StatusCode}
	}
	return nil
}

// Dial connects to addr, host:port, through the proxy, which dial connects to.
func (p *Proxy) Dial(
	ctx context.Context,
	dial func(ctx context.Context, network, addr string) (net.Conn, error),
	addr string,
) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", p.url.Host)
	if err != nil {
		return nil, &net.OpError{Op: proxyDial, Net: "tcp", Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := p.connect(conn, addr); err != nil {
		_ = conn.Close()
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return conn, nil
}

// connect asks the proxy at the other end of conn for a connection to addr.
func (p *Proxy) connect(conn net.Conn, addr string) error {
	req := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: addr},
		Host:   addr,
		Header: http.Header{},
	}
	if user := p.url.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
		req.Header["Proxy-Authorization"] = req.Header["Authorization"]
		req.Header.Del("Authorization")
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	// The host says nothing before the client does, so nothing more is read.
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	return connected(resp)
}

// proxyDial is how net/http marks the error of a proxy that it cannot connect to.
const proxyDial = "proxyconnect"

// ProxyFault says what is wrong with the proxy; "" if err is not about it.
func ProxyFault(err error) string {
	if refused, ok := errors.AsType[*ProxyError](err); ok {
		return refused.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == proxyDial {
		return "the proxy of " + proxyVariable + " cannot be reached"
	}
	return ""
}
