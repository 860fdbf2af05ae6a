package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"errand.internal/internal/redisguard"
)

// Check is one line of the doctor's. Level is ok, warn or fail. Seen and Fix
// hold no secret.
type Check struct {
	Name  string           `json:"name"`
	Level redisguard.Level `json:"level"`
	// Seen is what was found, Fix what to do about it, "" if nothing is to be
	// done.
	Seen string `json:"seen"`
	Fix  string `json:"fix"`
}

// Diagnosis is all that the doctor found, always in the same order.
type Diagnosis struct {
	Checks []Check
}

// OK reports that nothing fails; there may be warnings.
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

// WriteText writes one line for each check, and below it the fix where there is
// one.
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
