package anna

import (
	"testing"
	"time"
)

func TestResolveDate(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	// 01:30 UTC on the 1st of March is still the 28th of February in São Paulo.
	now := time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC).In(zone)
	for _, tc := range []struct {
		name, text, want string
		bad              bool
	}{
		{name: "empty", text: "", want: ""},
		{name: "absolute", text: "31/12/2024", want: "31/12/2024"},
		{name: "today", text: "today", want: "28/02/2026"},
		{name: "a week ago", text: "today-7d", want: "21/02/2026"},
		{name: "over a year's end", text: "today-60d", want: "30/12/2025"},
		{name: "month first", text: "12/31/2024", bad: true},
		{name: "no such day", text: "30/02/2026", bad: true},
		{name: "ISO", text: "2024-12-31", bad: true},
		{name: "one digit", text: "1/2/2024", bad: true},
		{name: "future", text: "today+7d", bad: true},
		{name: "words", text: "yesterday", bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := resolveDate(tc.text, now)
			if ok == tc.bad || ValidDate(tc.text) == tc.bad {
				t.Fatalf("resolveDate(%q) = %q, %v; ValidDate %v", tc.text, got, ok, ValidDate(tc.text))
			}
			if !tc.bad && got != tc.want {
				t.Errorf("resolveDate(%q) = %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}
