package record

import (
	"testing"
	"time"

	"errand.internal/internal/redistest"
)

// What happens all the time has one line a day, whoever writes it.
func TestALineADayIsWrittenOnce(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	first, second := New(rdb), New(rdb)
	shop := Action{Who: "key shop", Verb: "use", Target: "HTTP interface"}
	crm := Action{Who: "key crm", Verb: "use", Target: "HTTP interface"}
	for range 2 {
		for _, s := range []*Store{first, second} {
			for _, a := range []Action{shop, crm} {
				if err := s.ActOnceADay(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	count := func() map[string]int {
		lines := map[string]int{}
		err := first.EachAction(t.Context(), time.Time{}, func(a Action) error {
			lines[a.Who]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	if lines := count(); len(lines) != 2 || lines[shop.Who] != 1 || lines[crm.Who] != 1 {
		t.Errorf("the audit has %v", lines)
	}
	// The next day.
	for field := range rdb.HGetAll(t.Context(), seenKey).Val() {
		rdb.HSet(t.Context(), seenKey, field, "1")
	}
	if err := second.ActOnceADay(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	if lines := count(); lines[shop.Who] != 2 || lines[crm.Who] != 1 {
		t.Errorf("the audit has %v on the next day", lines)
	}
	if left := rdb.TTL(t.Context(), seenKey).Val(); left <= 24*time.Hour {
		t.Errorf("it is forgotten after %v", left)
	}
}
