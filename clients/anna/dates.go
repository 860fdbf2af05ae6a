package anna

import (
	"regexp"
	"strconv"
	"time"
)

// dateLayout is DD/MM/YYYY: the vendor's example 31/12/2024 has no 31st month.
const dateLayout = "02/01/2006"

var relativeDate = regexp.MustCompile(`^today(?:-([0-9]{1,4})d)?$`)

// ValidDate reports whether text can stand in a filter's date: DD/MM/YYYY, or
// today, or today-7d, which are resolved when the call is made.
func ValidDate(text string) bool {
	_, ok := resolveDate(text, time.Time{})
	return ok
}

// resolveDate turns a relative date into the vendor's form, as of now, which is
// in the zone that counts. An empty text stays empty.
func resolveDate(text string, now time.Time) (string, bool) {
	if text == "" {
		return "", true
	}
	if m := relativeDate.FindStringSubmatch(text); m != nil {
		days, _ := strconv.Atoi(m[1]) // "" is 0
		return now.AddDate(0, 0, -days).Format(dateLayout), true
	}
	t, err := time.Parse(dateLayout, text)
	return text, err == nil && t.Format(dateLayout) == text
}
