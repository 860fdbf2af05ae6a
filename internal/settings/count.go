package settings

import (
	"errors"
	"strconv"
)

// Count is how many of something there may be at once. Zero is no limit, which
// is written none: a 0 could as well be meant to stop everything.
type Count int

// maxCount keeps a misplaced number from passing for a limit.
const maxCount = 1_000_000

var errCount = errors.New("must be a whole number from 1 to 1000000, or none")

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Count) UnmarshalText(text []byte) error {
	if string(text) == none {
		*c = 0
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxCount {
		return errCount
	}
	*c = Count(n)
	return nil
}
