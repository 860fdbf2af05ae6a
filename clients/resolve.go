package clients

import (
	"errors"
	"net/url"
	"strings"
)

// ResolveWithin returns the URL of a path from a payload. The path must lie below
// the base: the request carries the credential, and no payload may send that
// elsewhere. The path is escaped as in a URL; one leading slash is allowed. The
// error says what is wrong with the path and does not quote it.
func (b BaseURL) ResolveWithin(path string) (string, error) {
	path = strings.TrimPrefix(path, "/")
	if err := checkPath(path); err != nil {
		return "", err
	}
	joined := b.Join(path)
	if !b.contains(joined) {
		return "", errors.New("does not lie below the base URL")
	}
	return joined, nil
}

// contains reports whether a server would find the URL below the base. It is the
// second line of defence behind checkPath.
func (b BaseURL) contains(joined string) bool {
	u, err := url.Parse(joined)
	if err != nil {
		return false
	}
	sameServer := u.Scheme == b.root.Scheme && u.Host == b.root.Host && u.User == nil
	pathOnly := u.RawQuery == "" && u.Fragment == ""
	resolved := u.ResolveReference(&url.URL{}).EscapedPath()
	return sameServer && pathOnly && strings.HasPrefix(resolved, b.root.EscapedPath())
}

// anyBase stands for every base URL: what is wrong with a path does not depend on it.
var anyBase, _ = parseBaseURL("https://vendor.invalid/below/", false)

// CheckPath returns what is wrong with a path from a payload; nil if ResolveWithin takes
// it.
func CheckPath(path string) error {
	_, err := anyBase.ResolveWithin(path)
	return err
}

// RelativeTo returns the path below the base of an absolute URL, such as one copied
// from the vendor's page. The path still has to pass ResolveWithin. The error does
// not quote the URL.
func (b BaseURL) RelativeTo(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "", errors.New("is not a URL")
	}
	base := b.root
	switch {
	case u.Scheme != base.Scheme || !strings.EqualFold(withPort(u), withPort(base)):
		return "", errors.New("names another host than the base URL")
	case u.User != nil:
		return "", errors.New("must not contain a user or password")
	case strings.ContainsAny(raw, "?#"):
		return "", errors.New("must not contain a query or a fragment")
	}
	path, below := strings.CutPrefix(u.EscapedPath(), base.EscapedPath())
	if !below {
		return "", errors.New("does not lie below the base URL")
	}
	return path, nil
}

func withPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// maxUnescapes is how many layers of %XX escapes are checked. A proxy and a server
// may each remove one.
const maxUnescapes = 4

func checkPath(path string) error {
	if path == "" {
		return errors.New("is empty")
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == "" && i < len(segments)-1 {
			return errors.New("must not contain //")
		}
		if strings.ContainsFunc(segment, mustEscape) {
			return errors.New(`must be a path as in a URL, without ? and #, everything else as %XX`)
		}
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment checks one segment of a path, as it is and with each layer of
// escapes removed.
func checkSegment(segment string) error {
	for range maxUnescapes {
		if err := checkUnescaped(segment); err != nil {
			return err
		}
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return errors.New("contains a % that is not an escape")
		}
		if plain == segment {
			break
		}
		segment = plain
		if strings.Contains(segment, "%") && !isEscaped(segment) {
			break // the percent sign belongs to the name
		}
	}
	return checkUnescaped(segment)
}

// checkUnescaped refuses a segment that leads out of its folder. Some servers
// ignore what follows a semicolon.
func checkUnescaped(segment string) error {
	name, _, _ := strings.Cut(segment, ";")
	switch {
	case name == "." || name == "..":
		return errors.New("must not contain . or .. as a part")
	case strings.ContainsAny(segment, `/\`):
		return errors.New("must not contain an escaped slash or a backslash")
	case HasControl(segment):
		return errors.New("must not contain control characters")
	}
	return nil
}

// mustEscape reports whether r must be escaped in a segment of a URL's path.
func mustEscape(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._~!$&'()*+,;=:@%", r)
}

func isEscaped(s string) bool {
	_, err := url.PathUnescape(s)
	return err == nil
}
