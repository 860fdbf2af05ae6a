package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is so many in a span of time. The zero Rate is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// IsZero reports whether there is no limit.
func (r Rate) IsZero() bool {
	return r == Rate{}
}

// String is the form that UnmarshalText reads; "" for the zero Rate.
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

// none is the word for no limit. An empty variable counts as unset, and so as its
// default.
const none = "none"

var errRate = errors.New("must be a rate as N/duration, such as 95/1m or 5/s, or none")

// UnmarshalText implements encoding.TextUnmarshaler: N/duration, as in 95/1m. A
// unit alone means one of it, as in 5/s; none is the zero Rate.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == none {
		*r = Rate{}
		return nil
	}
	n, per, found := strings.Cut(string(text), "/")
	if !found {
		return errRate
	}
	if per != "" && (per[0] < '0' || per[0] > '9') && per[0] != '.' && per[0] != '-' &&
		per[0] != '+' {
		per = "1" + per
	}
	count, err := strconv.Atoi(n)
	if err != nil {
		return errRate
	}
	span, err := time.ParseDuration(per)
	if err != nil {
		return errRate
	}
	if count < 1 || span <= 0 {
		return fmt.Errorf("%w; both above zero", errRate)
	}
	*r = Rate{N: count, Per: span}
	return nil
}
