package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Share is a share of calls within a time: 70 % within 30 s. The zero Share means never.
type Share struct {
	Percent int
	Within  time.Duration
}

// IsZero reports whether no share is set.
func (s Share) IsZero() bool {
	return s == Share{}
}

// off spells the zero Share. An empty variable cannot: it counts as unset, so the default
// applies.
const off = "off"

// String returns the form that UnmarshalText parses.
func (s Share) String() string {
	if s.IsZero() {
		return off
	}
	within := strings.TrimPrefix(Rate{N: 1, Per: s.Within}.String(), "1/")
	return strconv.Itoa(s.Percent) + "%/" + within
}

// MarshalText implements encoding.TextMarshaler.
func (s Share) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

var errShare = errors.New("must be a share of calls within a time as N%/duration, such as 70%/30s, or off")

// UnmarshalText implements encoding.TextUnmarshaler. It parses N%/duration, such as
// 70%/30s. "off" is the zero Share.
func (s *Share) UnmarshalText(text []byte) error {
	if string(text) == off {
		*s = Share{}
		return nil
	}
	share, window, found := strings.Cut(string(text), "%/")
	if !found {
		return errShare
	}
	percent, err := strconv.Atoi(share)
	if err != nil {
		return errShare
	}
	within, err := time.ParseDuration(window)
	if err != nil {
		return errShare
	}
	if percent < 1 || percent > 100 || within < time.Second || within > time.Hour {
		return fmt.Errorf("%w; from 1%% to 100%%, within 1s to 1h", errShare)
	}
	*s = Share{Percent: percent, Within: within}
	return nil
}
