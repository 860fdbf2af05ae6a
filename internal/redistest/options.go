package redistest

import (
	"fmt"
	"strconv"
	"strings"
)

// Option changes how a server starts.
type Option func(*config)

type config struct {
	lines    []string // of redis.conf; the last one of a directive applies
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

// Config sets a directive of redis.conf. The value is written unchanged, so a value
// with spaces needs the quotes of redis.conf.
func Config(key, value string) Option {
	return func(c *config) {
		c.lines = append(c.lines, key+" "+value)
	}
}

// AOF turns on the append-only file. policy is "always", "everysec" or "no".
func AOF(policy string) Option {
	return func(c *config) {
		c.lines = append(c.lines, "appendonly yes", "appendfsync "+policy)
	}
}

// Password makes the server require a password, which Client and URL use.
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

// quote returns text as a quoted string of redis.conf.
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

// file is the content of redis.conf. Directives that the caller must not change
// come last.
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
