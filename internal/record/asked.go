package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Asked is the field of a record that says what was asked for: it is written when the
// task is stored. A task that a plain asynq client enqueued has no Type there before a
// worker has adopted it.
type Asked struct {
	Created time.Time
	Due     time.Time
	// Usable is how long after Due the task may run.
	Usable time.Duration
	Type   string
}

// Expires is when the task may no longer run.
func (a Asked) Expires() time.Time {
	return a.Due.Add(a.Usable)
}

// Encode returns the field. Lua reads and writes it too (asked in lists.lua); that a
// record stays small is why it has spans instead of times.
func (a Asked) Encode() string {
	return fmt.Sprintf(
		"%d %d %d %s",
		a.Created.UnixMilli(),
		a.Due.Sub(a.Created).Milliseconds(),
		a.Usable.Milliseconds(),
		a.Type,
	)
}

// DecodeAsked reads the field; a text that is none reads as nothing asked.
func DecodeAsked(text string) Asked {
	var numbers [3]int64
	for i := range numbers {
		word, rest, found := strings.Cut(text, " ")
		n, err := strconv.ParseInt(word, 10, 64)
		if !found || err != nil || n < 0 || n > maxMillis {
			return Asked{}
		}
		numbers[i], text = n, rest
	}
	created := time.UnixMilli(numbers[0])
	return Asked{
		Created: created,
		Due:     created.Add(time.Duration(numbers[1]) * time.Millisecond),
		Usable:  time.Duration(numbers[2]) * time.Millisecond,
		Type:    text,
	}
}

// maxMillis bounds each number of the field; as a span it is 278 years.
const maxMillis = 1 << 43
