package broker

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"errand.internal/internal/record"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/redistest"
)

// asynqMessage is a message as asynq encodes it, with all of its fields.
func asynqMessage() message {
	var m []byte
	text := func(n protowire.Number, s string) {
		m = protowire.AppendString(protowire.AppendTag(m, n, protowire.BytesType), s)
	}
	number := func(n protowire.Number, v uint64) {
		m = protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), v)
	}
	text(fieldType, "a:b")
	text(fieldPayload, "\x00{}")
	text(fieldID, "otp_1")
	text(4, "otp")
	number(fieldRetry, neverRetry)
	number(fieldRetried, 2)
	text(fieldErrorMsg, "retrying: maintenance")
	number(fieldTimeout, 3600)
	number(fieldDeadline, 1)
	text(10, "asynq:{otp}:unique:1")
	number(fieldLastFailedAt, 1700000000)
	number(fieldRetention, 86400)
	number(fieldCompletedAt, 1700000000)
	text(14, "group")
	text(fieldHeaders, "\x0a\x0derrand-usable\x12\x021m")
	text(16, "a field of a later release")
	return m
}

// without are the fields of a message but for some, as they are.
func without(m message, fields ...protowire.Number) []byte {
	var rest []byte
	m.fields(func(n protowire.Number, kind protowire.Type, value []byte) {
		for _, f := range fields {
			if n == f {
				return
			}
		}
		rest = append(protowire.AppendTag(rest, n, kind), value...)
	})
	return rest
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(asynqMessage()), int64(1700000001), "unknown: it may have happened")
	f.Add([]byte{}, int64(0), "")
	f.Add([]byte(asynqMessage()[:20]), int64(-1), "broken off")
	f.Add([]byte{0x7a, 0x00, 0x7a, 0x02, 0x0a, 0x00}, int64(5), "empty headers")
	f.Add([]byte{0x0a, 0xff}, int64(1), "a length beyond the end")
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.VarintType), 1), int64(1), "the last field there can be")
	f.Fuzz(func(t *testing.T, raw []byte, at int64, text string) {
		m := message(raw)
		before, ok := m.parts()
		if !ok {
			return // asynq cannot read it either
		}
		for _, tc := range []struct {
			name    string
			changed message
			fields  []protowire.Number
		}{
			{"completed", m.completed(time.Unix(at, 0), time.Hour), []protowire.Number{fieldCompletedAt, fieldRetention}},
			{"failed", m.failed(time.Unix(at, 0), text), []protowire.Number{fieldLastFailedAt, fieldErrorMsg}},
			{
				"adopted", m.adopted(time.Hour),
				[]protowire.Number{fieldRetry, fieldRetried, fieldTimeout, fieldDeadline, fieldRetention},
			},
		} {
			after, ok := tc.changed.parts()
			if !ok {
				t.Fatalf("%s is no message: %x", tc.name, tc.changed)
			}
			if got, want := without(tc.changed, tc.fields...), without(m, tc.fields...); !bytes.Equal(got, want) {
				t.Errorf("%s changed other fields: %x, they were %x", tc.name, got, want)
			}
			if after.taskType != before.taskType || !bytes.Equal(after.payload, before.payload) || len(after.headers) != len(before.headers) {
				t.Errorf("%s changed the parts: %+v, they were %+v", tc.name, after, before)
			}
			counts := map[protowire.Number]int{}
			tc.changed.fields(func(n protowire.Number, _ protowire.Type, _ []byte) { counts[n]++ })
			for _, n := range tc.fields {
				if counts[n] > 1 {
					t.Errorf("%s has the field %d %d times", tc.name, n, counts[n])
				}
			}
		}
	})
}

func FuzzOnce(f *testing.F) {
	f.Add("0 86400000 604800000 - - - - - 1")
	f.Add(newOnce(Policy{Redelivery: Reconciled, AuditSubject: "u", Intent: Intent{Subject: "u", Role: Closes}}.WithDefaults(), "salt").encode())
	f.Add("2 1 2 nsa key intent opens alone 7 a-later-field")
	f.Add("")
	f.Add("x y z n - - - -")
	f.Fuzz(func(t *testing.T, text string) {
		o := decodeOnce(text)
		encoded := o.encode()
		if words := strings.Fields(encoded); len(words) != 9 {
			t.Fatalf("%q is written as %q", text, encoded) // Lua counts on it
		}
		if o.retention%time.Millisecond != 0 || o.keyTTL%time.Millisecond != 0 {
			return // more than 292 years
		}
		if again := decodeOnce(encoded); again != o {
			t.Errorf("%q reads as %+v, and as %+v once more", text, o, again)
		}
	})
}

// What is written once comes back as it was.
func TestOnceComesBack(t *testing.T) {
	t.Parallel()
	for _, o := range []once{
		newOnce(Policy{}.WithDefaults(), ""),
		{redelivery: AtLeastOnce, retention: time.Millisecond, keyTTL: time.Hour, notify: true, version: 1},
		{
			redelivery: Reconciled, retention: time.Hour, keyTTL: 24 * time.Hour, notify: true, scheduled: true, audited: true,
			key: "ab", intent: "cd", role: Closes, alone: "ef", version: math.MaxInt32,
		},
	} {
		if got := decodeOnce(o.encode()); got != o {
			t.Errorf("%+v came back as %+v", o, got)
		}
	}
}

// FuzzReplies gives every call of a producer any reply of its script. It is a success
// only if the reply says so.
func FuzzReplies(f *testing.F) {
	for _, text := range []string{
		"1700000000000 0 60000 a:b", "1700000000000 0 60000", "duplicate\notp_1\n1\n2\n3\ndone", "duplicate\n\n1\n2\n3\n", "conflict\notp_1", "overlap\notp_1", "late\n", "salt\nsalt_x",
		"salt\n", "cancelled", "gone", "running", "parked", "done", "#1", "#0", "!", "", "[\n1700000000000 0 60000 a:b\n]", "a later answer\notp_1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		reply := redistest.ParseReply(text)
		rdb := redistest.Unserved(t)
		store := record.New(rdb)
		p := NewProducer(rdb, store, nil)
		redistest.Answer(rdb, reply, Format)
		word := redisscript.Reply(reply).Text(0)

		ticket, err := p.Enqueue(t.Context(), Job{Type: "a:b", Payload: []byte("{}"), Policy: Policy{Queue: "otp"}, Key: "k"})
		created := len(reply) == 1 && !record.DecodeAsked(word).Created.IsZero()
		if (err == nil) != (created || word == "duplicate" && redisscript.Reply(reply).Text(1) != "") {
			t.Errorf("the reply %q stored %+v, %v", text, ticket, err)
		}
		if err == nil && (ticket.ID == "" || ticket.Duplicate == created) {
			t.Errorf("the reply %q is the task %+v", text, ticket)
		}
		if ticket.Duplicate && ticket.ID != redisscript.Reply(reply).Text(1) {
			t.Errorf("the reply %q is the task %s", text, ticket.ID)
		}
		for refused, want := range map[string]error{
			"conflict": record.ErrKeyConflict, "overlap": record.ErrAlreadyActive, "late": record.ErrLate,
		} {
			if errors.Is(err, want) != (word == refused && len(reply) > 1) {
				t.Errorf("the reply %q is %v", text, err)
			}
		}

		err = p.Cancel(t.Context(), "otp_1")
		if (err == nil) != (word == string(record.Cancelled)) || errors.Is(err, record.ErrNotFound) != (word == "gone") {
			t.Errorf("the reply %q to a cancel is %v", text, err)
		}
	})
}

// FuzzClaim reads any claim of the take script. The task, the payload and the numbers
// are those that the reply has, and a task may run only if the reply says so.
func FuzzClaim(f *testing.F) {
	const described = "\n2.x\n1700000000000 0 60000 a:b\n1 86400000 604800000 n - - - - 1\n1\n"
	for _, text := range []string{
		"go" + described, "unrecorded\n2.x\n1700000000000 0 0 \n\n", "abandoned", "expired" + described + "3\n1\n\nplace",
		"#1\n!\n[\n]\n", "", "go\n!\n#-1\n#-1\n#-1\n#-1",
	} {
		f.Add("otp_1", []byte(asynqMessage()), text)
		f.Add("", []byte{0x0a, 0xff}, text)
	}
	f.Fuzz(func(t *testing.T, id string, msg []byte, text string) {
		reply := append([]any{id, string(msg)}, redistest.ParseReply(text)...)
		r := redisscript.Reply(reply)
		now := time.UnixMilli(1700000000000)
		c := (&Server{}).newClaim("otp", r, now, time.Now())
		if c.ID != id || string(c.Verdict) != r.Text(2) || !c.Due.Equal(record.DecodeAsked(r.Text(4)).Due) || int64(c.Attempts) != r.Int(6) || c.fence != r.Text(3) {
			t.Errorf("%q is read as %+v", text, c)
		}
		p, ok := message(msg).parts()
		if ok && (c.Type != p.taskType || !bytes.Equal(c.Payload, p.payload)) {
			t.Errorf("%x is the payload %x of %q", msg, c.Payload, c.Type)
		}
		if c.InDoubt != (r.Text(7) != "") || c.Lookups != int(r.Int(7)) || c.Reconfirm != (r.Text(8) == "1") || c.Place != r.Text(9) {
			t.Errorf("%q is read as %+v", text, c)
		}
		if c.Verdict == Unrecorded && (!c.Expires.After(c.Due) || c.Foreign && c.sealed()) || c.Verdict != Unrecorded && c.Foreign {
			t.Errorf("%q expires at %s, due at %s, foreign %v", text, c.Expires, c.Due, c.Foreign)
		}
		if end := Arguments(string(c.endArguments(Result{Outcome: record.Done}))); end["outcome"] != "done" || end["id"] != c.ID {
			t.Errorf("%q is ended with %v", text, end)
		}
	})
}
