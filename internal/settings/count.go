package settings

import (
	"errors"
	"strconv"
)

// Count limits how many of something may exist at once; zero means unlimited. A
// setting spells that "none", because 0 could be meant to stop everything.
type Count int

// maxCount rejects numbers that are too large to be meant as a limit.
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
