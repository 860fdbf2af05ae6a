package record_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
)

// FuzzQueueOf reads IDs. What is taken for one leads to one key of one queue, and no
// other ID leads to that key.
func FuzzQueueOf(f *testing.F) {
	for _, id := range []string{
		record.NewID("otp"), record.NewID("a_b"), "otp_", "_x", "otp", "otp_X", "otp_a-b", "otp_{x}", "o}tp_x", "otp_x\n", "", "é_x",
	} {
		f.Add(id, "otp_x")
	}
	f.Add("a_b_c", "a_b_c_d")
	f.Fuzz(func(t *testing.T, id, other string) {
		queue, err := record.QueueOf(id)
		if err != nil {
			if queue != "" {
				t.Errorf("%q is no ID, and of the queue %q", id, queue)
			}
			return
		}
		random := strings.TrimPrefix(id, queue+"_")
		if queue == "" || random == "" || strings.Contains(random, "_") || queue+"_"+random != id {
			t.Errorf("%q is of the queue %q", id, queue)
		}
		if again, err := record.QueueOf(record.NewID(queue)); err != nil || again != queue {
			t.Errorf("a new ID of the queue %q is of %q, %v", queue, again, err)
		}
		key := record.Key(queue, id)
		if strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 || strings.ContainsAny(key, " \r\n*?[\\") {
			t.Errorf("the key of %q is %q", id, key)
		}
		if q, err := record.QueueOf(other); err == nil && other != id && record.Key(q, other) == key {
			t.Errorf("%q and %q have one key", id, other)
		}
	})
}

// FuzzAttempt keeps attempts. Each comes back as it was, to the millisecond.
func FuzzAttempt(f *testing.F) {
	f.Add(int64(1700000000123), int64(15), "unknown", 503, "04", "may have happened")
	f.Add(int64(-1), int64(-1), "", -1, "\xff", "<>&\u2028\n")
	f.Fuzz(func(t *testing.T, at, took int64, class string, status int, code, message string) {
		const most = int64(1) << 43
		want := record.Attempt{
			At:      time.UnixMilli(at),
			Took:    time.Duration(took%most) * time.Millisecond,
			Class:   strings.ToValidUTF8(class, "\ufffd"),
			Status:  status,
			Code:    strings.ToValidUTF8(code, "\ufffd"),
			Message: strings.ToValidUTF8(message, "\ufffd"),
		}
		raw := want.Encode()
		reply := []any{int64(1), "", int64(0), "asked", "1700000000000 0 60000 a:b", "first", string(raw)}
		store := record.New(redistest.Canned(t, reply, ""))
		r, err := store.Get(t.Context(), "otp_1")
		if err != nil {
			t.Fatal(err)
		}
		if len(r.History) != 1 || r.Attempts != 1 || !reflect.DeepEqual(r.History[0], want) {
			t.Errorf("%s came back as %+v, want %+v", raw, r.History, want)
		}
	})
}

// FuzzRecord reads any reply of the script that reads a record. A record is ended if and
// only if it has an outcome; what is not ended runs, waits or will run; and no attempt is
// lost without an error.
func FuzzRecord(f *testing.F) {
	const attempt = `[1700000000000,12,"done"]`
	for _, text := range []string{
		"#1700000000000\nresult\n#1\n" + attempt + "\ntype\notp\noutcome\ndone\nended\n1700000000000\nfirst\n" + attempt,
		"#1700000000000\n\n#0\ntype\notp\ndue\n1800000000000",
		"#1\n\n#0\nfence\n1.x", "#1\n\n#0", "#1\n\n#-7\ntype\na", "#1\n\n#999999999\ntype\na", "#1\n\n#1\n{\ntype\na", "x", "#1\n\n#0\ntype",
		"#1\n\n#0\ntype\na\nowner\nw\nparked\nx\nnext\n5", "#1\n\n#0\ntype\na\nfirst\n-", "#1\n\n#2\n!\n!\ntype\na",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		reply := redistest.ParseReply(text)
		r, err := record.New(redistest.Canned(t, reply, "")).Get(t.Context(), "otp_1")
		if err != nil {
			if r != nil {
				t.Errorf("%+v beside %v", r, err)
			}
			return
		}
		if (r.State == record.Ended) != (r.Outcome != "") || r.State == "" || r.ID != "otp_1" || r.Queue != "otp" {
			t.Errorf("%q is read as %+v", text, r)
		}
		logged, _ := reply[min(2, len(reply)-1)].(int64)
		if r.Attempts != len(r.History) || int64(r.Attempts) < logged {
			t.Errorf("%q is read as %+v with %d attempts", text, r, r.Attempts)
		}
	})
}

// FuzzAsked reads what any record may say was asked for; what is read comes back.
func FuzzAsked(f *testing.F) {
	for _, text := range []string{"1700000000000 0 60000 a:b", "1 2 3 ", "1 2 3 a b", "-1 -2 -3 x", "", "a b c d", "9223372036854775807 9223372036854775807 1 t"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := record.DecodeAsked(text)
		if again := record.DecodeAsked(a.Encode()); a != (record.Asked{}) && again != a {
			t.Errorf("%q reads as %+v, and as %+v once more", text, a, again)
		}
	})
}
