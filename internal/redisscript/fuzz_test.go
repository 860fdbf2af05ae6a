package redisscript_test

import (
	"strconv"
	"testing"

	"errand.internal/internal/redisscript"
)

// A reply is read without a panic whatever it is, and its readings agree.
func FuzzReply(f *testing.F) {
	f.Add("text", int64(7), 0)
	f.Add("12", int64(-2), 1)
	f.Add("99999999999999999999", int64(-1)<<63, 2)
	f.Add("\x00\xff", int64(0), 5)
	f.Add("-0", int64(1), -1)
	f.Fuzz(func(t *testing.T, text string, n int64, i int) {
		if i < 0 {
			return // the index is the program's own
		}
		r := redisscript.Reply{text, n, nil, []any{text, n, []any{n}}, 1.5}
		got, number := r.Text(i), r.Int(i)
		if r.Bool(i) != (number != 0) {
			t.Errorf("element %d is %d, and Bool says %v", i, number, r.Bool(i))
		}
		if r.Millis(i) < 0 && number < 1<<40 || r.Micros(i) < 0 && number < 1<<40 {
			t.Errorf("element %d is a negative duration", i)
		}
		switch i {
		case 0:
			want, err := strconv.ParseInt(text, 10, 64)
			if got != text || err == nil && number != want || err != nil && number != 0 {
				t.Errorf("the text %q reads as %q and %d", text, got, number)
			}
		case 1:
			if got != strconv.FormatInt(n, 10) || number != n {
				t.Errorf("the number %d reads as %q and %d", n, got, number)
			}
		case 3:
			if list := r.List(i); list.Text(0) != text || list.Int(1) != n || list.List(2).Int(0) != n || got != "" || number != 0 {
				t.Errorf("the list reads as %v, %q and %d", list, got, number)
			}
		default:
			if got != "" || number != 0 || r.List(i) != nil || r.Time(i).UnixMilli() != 0 {
				t.Errorf("element %d reads as %q and %d", i, got, number)
			}
		}
	})
}
