package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"errand.internal/internal/netfault"
)

// dialTLS dials like a tls.Dialer. Its errors tell a server that was not reached from
// one that does not answer the handshake, as a Redis without TLS does.
func dialTLS(dialer *net.Dialer, config *tls.Config) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialer.Timeout)
		defer cancel()
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		if own.ServerName == "" { // each node of a cluster is verified by its own name
			own.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(conn, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, &netfault.HandshakeError{Err: err}
		}
		return secure, nil
	}
}

// dialPlain dials without TLS. A server that speaks TLS shows in its first answer.
func dialPlain(dialer *net.Dialer) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if raw, ok := conn.(syscall.Conn); ok {
			return &plainConn{Conn: conn, raw: raw}, nil
		}
		return conn, nil
	}
}

// plainConn looks at the first answer of a server.
type plainConn struct {
	net.Conn
	raw      syscall.Conn
	answered bool
	refused  error // netfault.ErrWantsTLS once it is known: go-redis reads on
}

// SyscallConn implements syscall.Conn.
func (c *plainConn) SyscallConn() (syscall.RawConn, error) {
	return c.raw.SyscallConn()
}

// tlsAlert begins a TLS record that refuses what was received. No answer of Redis
// begins like that.
const tlsAlert = 0x15

// Read implements net.Conn. A server that wants TLS refuses with an alert, or closes
// the connection.
func (c *plainConn) Read(p []byte) (int, error) {
	if c.refused != nil {
		return 0, c.refused
	}
	n, err := c.Conn.Read(p)
	if c.answered || n == 0 && err == nil {
		return n, err
	}
	c.answered = true
	closed := n == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET))
	if n > 0 && p[0] == tlsAlert || closed && speaksTLS(c.RemoteAddr()) {
		c.refused = netfault.ErrWantsTLS
		return 0, c.refused
	}
	return n, err
}

// probeTimeout bounds speaksTLS.
const probeTimeout = 300 * time.Millisecond

// speaksTLS reports whether the server completes a TLS handshake. Nothing is sent
// after it, so the certificate does not matter.
func speaksTLS(addr net.Addr) bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	dialer := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
