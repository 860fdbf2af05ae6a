package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate limits events per window of time; the zero Rate means unlimited.
type Rate struct {
	N   int
	Per time.Duration
}

// IsZero reports whether the rate is unlimited.
func (r Rate) IsZero() bool {
	return r == Rate{}
}

// String returns the form that UnmarshalText parses, or "" for the zero Rate.
func (r Rate) String() string {
	if r.IsZero() {
		return ""
	}
	per := r.Per.String() // 1m0s, 1h0m0s
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(per, zero) {
			per = strings.TrimSuffix(per, zero[1:])
		}
	}
	return strconv.Itoa(r.N) + "/" + per
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) {
	return []byte(r.String()), nil
}

// none spells "unlimited". An empty variable cannot: it counts as unset, so the
// default applies.
const none = "none"

var errRate = errors.New("must be a rate as N/duration, such as 95/1m or 5/s, or none")

// UnmarshalText implements encoding.TextUnmarshaler. It parses N/duration, such as
// 95/1m; a bare unit means one of it, such as 5/s. "none" is the zero Rate.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == none {
		*r = Rate{}
		return nil
	}
	n, window, found := strings.Cut(string(text), "/")
	if !found {
		return errRate
	}
	if window != "" && !strings.ContainsRune("0123456789.+-", rune(window[0])) {
		window = "1" + window
	}
	count, err := strconv.Atoi(n)
	if err != nil {
		return errRate
	}
	per, err := time.ParseDuration(window)
	if err != nil {
		return errRate
	}
	if count < 1 || per <= 0 {
		return fmt.Errorf("%w; both must be above zero", errRate)
	}
	*r = Rate{N: count, Per: per}
	return nil
}
