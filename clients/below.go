package clients

import (
	"errors"
	"net/url"
	"strings"
)

// Below returns the URL of a path that a payload names, which must lie below
// the base: the credential goes with it, so no payload may lead it elsewhere.
// The path is written as in a URL, with %XX escapes; one slash in front is
// allowed. The error says in our own words what is wrong and does not quote it.
func (b BaseURL) Below(path string) (string, error) {
	path = strings.TrimPrefix(path, "/")
	if err := checkPath(path); err != nil {
		return "", err
	}
	joined := b.Join(path)
	// What a server makes of it is checked once more, whole.
	u, err := url.Parse(joined)
	base, baseErr := url.Parse(b.url + "/")
	if err != nil || baseErr != nil || u.Host != base.Host || u.Scheme != base.Scheme ||
		u.User != nil ||
		u.RawQuery != "" ||
		u.Fragment != "" {
		return "", errors.New("does not lie below the base URL")
	}
	if !strings.HasPrefix(
		u.ResolveReference(&url.URL{}).EscapedPath(),
		base.EscapedPath(),
	) {
		return "", errors.New("does not lie below the base URL")
	}
	return joined, nil
}

// Inside returns the path below the base of an absolute URL that somebody
// copied, for Below to check. The error does not quote it.
func (b BaseURL) Inside(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "", errors.New("is not a URL")
	}
	base, err := url.Parse(b.url + "/")
	switch {
	case err != nil || u.Scheme != base.Scheme || !strings.EqualFold(withPort(u), withPort(base)):
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

// unescapes is how many layers of %XX are looked through: a proxy and a server
// may each take one off.
const unescapes = 4

func checkPath(path string) error {
	if path == "" {
		return errors.New("is empty")
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == "" && i < len(segments)-1 {
			return errors.New("must not contain //")
		}
		if strings.ContainsFunc(segment, notInSegment) {
			return errors.New(
				`must be a path as in a URL, without ? and #, everything else as %XX`,
			)
		}
		for range unescapes {
			if err := checkSegment(segment); err != nil {
				return err
			}
			plain, err := url.PathUnescape(segment)
			if err != nil {
				return errors.New("has a % that is no escape")
			}
			if plain == segment {
				break
			}
			segment = plain
			if strings.Contains(segment, "%") && !escaped(segment) {
				break // a percent sign of the name itself
			}
		}
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment refuses what moves to another place. Some servers cut off what
// follows a semicolon before they look.
func checkSegment(segment string) error {
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

// notInSegment tells the signs that cannot stand in a URL's path as they are.
func notInSegment(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._~!$&'()*+,;=:@%", r)
}

func escaped(s string) bool {
	_, err := url.PathUnescape(s)
	return err == nil
}
