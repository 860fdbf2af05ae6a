package clients

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// BaseURL is the checked address below which all paths of a vendor lie. It does not
// end in a slash.
type BaseURL struct {
	url  string
	host string
	root *url.URL // url, parsed, with a slash at its end
}

// ParseBaseURL checks a base URL from the settings. It must be https; plain http is
// allowed for loopback hosts, and for any host with allowInsecure. The error names
// the variable and does not quote the URL, which may contain a password.
func ParseBaseURL(variable, raw string, allowInsecure bool) (BaseURL, error) {
	base, err := parseBaseURL(strings.TrimSpace(raw), allowInsecure)
	if err != nil {
		return BaseURL{}, fmt.Errorf("%s: %w", variable, err)
	}
	return base, nil
}

func parseBaseURL(raw string, allowInsecure bool) (BaseURL, error) {
	if raw == "" {
		return BaseURL{}, errors.New(NotSet)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return BaseURL{}, errors.New("is not a URL")
	}
	if err := checkBaseURL(u, raw, allowInsecure); err != nil {
		return BaseURL{}, err
	}
	base := BaseURL{
		url:  u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/"),
		host: u.Host,
	}
	if base.root, err = url.Parse(base.url + "/"); err != nil {
		return BaseURL{}, errors.New("is not a URL")
	}
	return base, nil
}

func checkBaseURL(u *url.URL, raw string, allowInsecure bool) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must begin with https://")
	case host == "":
		return errors.New("names no host")
	case !isHost(host):
		return errors.New("names a host with a character that no host has")
	case u.User != nil:
		return errors.New("must not contain a user or password")
	case strings.ContainsAny(raw, "?#"): // url.Parse drops an empty query or fragment
		return errors.New("must not contain a query or a fragment")
	case isUnspecified(host):
		return errors.New("names the placeholder address 0.0.0.0; put the real host there")
	case u.Scheme == "http" && !allowInsecure && !isLoopback(host):
		return errors.New("must use https; plain http is for loopback hosts, or with ALLOW_INSECURE_HTTP=true")
	case !isPort(u.Port()):
		return errors.New("has a port outside 1 to 65535")
	}
	return nil
}

// isHost reports whether host is an address without a zone, or may be a name: letters
// of any script, digits, dots, hyphens and underscores. url.Parse takes almost
// anything, some of which it would not take again.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	return utf8.ValidString(host) && strings.Trim(host, ".") != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit) && !strings.ContainsRune("-_.", r)
	})
}

// isPort reports whether port is empty or a valid number.
func isPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1 && n <= 65535
}

// Join returns the URL of a path below the base, with exactly one slash between
// them. The path must be escaped and may carry a query.
func (b BaseURL) Join(path string) string {
	return b.url + "/" + strings.TrimLeft(path, "/")
}

// Host returns the host and the port, which are safe to show.
func (b BaseURL) Host() string {
	return b.host
}

func isUnspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsUnspecified()
}

func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
