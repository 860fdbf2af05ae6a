package doctor

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"errand.internal/internal/redisguard"
)

// listenTimeout bounds the connection to the worker's own HTTP interface.
const listenTimeout = 3 * time.Second

// apiChecks checks the HTTP interface of producers; nothing if it is off.
func (d *doctor) apiChecks(ctx context.Context) []Check {
	cfg := d.config.API
	const name = "http interface"
	switch {
	case !cfg.Enabled():
		return nil
	case cfg.Validate() != nil:
		return []Check{{
			Level: redisguard.Warn,
			Name:  name,
			Seen:  "not checked: API_ADDR, API_KEYS or the certificate is wrong",
			Fix:   "correct the settings above",
		}}
	}
	names := cfg.KeyNames()
	keys := fmt.Sprintf("%d keys: %s", len(names), strings.Join(names, ", "))
	if len(names) == 1 {
		keys = "1 key: " + names[0]
	}
	c := Check{
		Level: redisguard.OK,
		Name:  name,
		Seen:  "listens at " + cfg.Addr + "; " + keys,
	}
	if err := d.listens(ctx, cfg.Addr); err != nil {
		c.Level = redisguard.Warn
		c.Seen = "nothing listens at " + cfg.Addr + " on this host; " + keys
		c.Fix = "start a worker with these settings, or run the doctor where one runs"
	}
	if cfg.TLSCert == "" {
		c.Seen += "; plain HTTP"
		return []Check{c}
	}
	return []Check{c, d.certificateCheck(name + " certificate")}
}

// listens connects to an address of this host.
func (d *doctor) listens(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	conn, err := d.dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (d *doctor) certificateCheck(name string) Check {
	end, err := d.config.API.CertificateEnd()
	if err != nil {
		return Check{
			Level: redisguard.Fail,
			Name:  name,
			Seen:  "cannot be read: API_TLS_CERT",
			Fix:   "correct API_TLS_CERT",
		}
	}
	c := Check{
		Level: redisguard.OK,
		Name:  name,
		Seen:  "valid until " + end.UTC().Format(time.DateOnly),
	}
	left := end.Sub(d.now())
	if left >= certificateWarning {
		return c
	}
	c.Level = redisguard.Warn
	c.Fix = "renew the certificate in API_TLS_CERT; it is read again for each connection"
	if left <= 0 {
		c.Level = redisguard.Fail
		c.Seen = "ended on " + end.UTC().Format(time.DateOnly) + ": producers refuse it"
	}
	return c
}
