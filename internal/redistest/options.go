package redistest

import (
	"fmt"
	"strconv"
	"strings"
)

// Option changes how a server starts.
type Option func(*config)

type config struct {
	lines    []string // of redis.conf, later ones win
	password string
	cluster  bool
	sentinel bool
}

func newConfig(opts []Option) config {
	c := config{lines: []string{
		`save ""`,
		"appendonly no",
		"maxmemory-policy noeviction",
	}}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// Config sets one directive of redis.conf. The value is written as it is, so
// one with spaces in it needs Redis's own quotes.
func Config(key, value string) Option {
	return func(c *config) {
		c.lines = append(c.lines, key+" "+value)
	}
}

// AOF keeps an append-only file: policy is "always", "everysec" or "no".
func AOF(policy string) Option {
	return func(c *config) {
		c.lines = append(c.lines, "appendonly yes", "appendfsync "+policy)
	}
}

// Password makes the server ask for a password; Client and URL know it.
func Password(password string) Option {
	return func(c *config) {
		c.password = password
		c.lines = append(
			c.lines,
			"requirepass "+quote(password),
			"masterauth "+quote(password),
		)
	}
}

// quote writes a text the way redis.conf reads any byte.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(text) {
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	b.WriteByte('"')
	return b.String()
}

// file is the whole redis.conf. What the caller may not change stands last.
func (c config) file(dir string, port, busPort int) string {
	lines := append([]string{
		"logfile " + quote(""),
		"loglevel notice",
	}, c.lines...)
	lines = append(lines,
		"bind 127.0.0.1",
		"port "+strconv.Itoa(port),
		"daemonize no",
		"dir "+quote(dir),
	)
	if busPort != 0 {
		lines = append(
			lines,
			"cluster-enabled yes",
			"cluster-port "+strconv.Itoa(busPort),
		)
	}
	return strings.Join(lines, "\n") + "\n"
}
