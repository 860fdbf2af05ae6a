package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"errand.internal/internal/redisguard"
)

// Check is the result of one check. Its texts contain no secret.
type Check struct {
	Name  string           `json:"name"`
	Level redisguard.Level `json:"level"`
	// Seen is what was found.
	Seen string `json:"seen"`
	// Fix is what to do about it; empty if there is nothing to do.
	Fix string `json:"fix"`
}

// Diagnosis has the results of all checks, always in the same order.
type Diagnosis struct {
	Checks []Check
}

// OK reports whether no check fails; there may be warnings.
func (d Diagnosis) OK() bool {
	for _, c := range d.Checks {
		if c.Level == redisguard.Fail {
			return false
		}
	}
	return true
}

// MarshalJSON implements json.Marshaler: {"ok":…,"checks":[…]}.
func (d Diagnosis) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		OK     bool    `json:"ok"`
		Checks []Check `json:"checks"`
	}{d.OK(), d.Checks})
}

// WriteText writes one line for each check, followed by a line with the fix if
// there is one.
func (d Diagnosis) WriteText(w io.Writer) error {
	width := 0
	for _, c := range d.Checks {
		width = max(width, len(c.Name))
	}
	var b strings.Builder
	for _, c := range d.Checks {
		level := string(c.Level)
		if c.Level == redisguard.Fail {
			level = "FAIL"
		}
		fmt.Fprintf(&b, "%-4s  %-*s  %s\n", level, width, c.Name, c.Seen)
		if c.Fix != "" {
			fmt.Fprintf(&b, "%-4s  %-*s  fix: %s\n", "", width, "", c.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
