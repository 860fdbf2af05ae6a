package record

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/redisscript"
)

// Record is all that is known of one task.
type Record struct {
	ID    string
	Type  string
	Queue string
	State State
	// Outcome is empty while the task has not ended.
	Outcome Outcome
	Code    string
	Message string
	// Data is the result as the worker sealed it.
	Data []byte
	// Attempts is the length of History: calls of the vendor, whether they counted
	// against the budget or not.
	Attempts int
	History  []Attempt

	// By names the API key that asked for the task; empty if none did.
	By string

	Created time.Time
	Due     time.Time
	Expires time.Time
	// Next is when a retrying or parked task runs again.
	Next  time.Time
	Ended time.Time

	// Scheduled says that a schedule enqueued the task. Schedule is its name; empty for a task
	// of an older release.
	Scheduled bool
	Schedule  string
	// Keyed says that the task has a producer's key.
	Keyed bool
	// Owner is the worker that runs it.
	Owner string
	// WaitedFor names what the task was parked for last, Waits how often it was parked, and
	// WaitedSince when first.
	WaitedFor   string
	Waits       int
	WaitedSince time.Time
	// Replay is the task that replays this dead letter, ReplayOf the one that this task
	// replays.
	Replay   string
	ReplayOf string
	// Digests are those by which the index finds the task; VendorIDs are those among them
	// that are of the vendor's IDs in the result.
	Digests   []string
	VendorIDs []string
}

// bySchedule marks the name of a schedule where that of an API key may stand, which has no
// blank.
const bySchedule = "schedule "

// BySchedule is what stands for a schedule where the name of an API key may stand.
func BySchedule(name string) string {
	return bySchedule + name
}

// Attempt is one entry of a task's history.
type Attempt struct {
	At   time.Time
	Took time.Duration
	// Class is the outcome, or the kind of the fault.
	Class string
	// Status is the HTTP status, 0 if there was none.
	Status int
	// Code is the vendor's.
	Code    string
	Message string
}

// Encode returns the attempt as the log keeps it: a JSON array of when (ms), how long
// (ms), class, status, code and message, without the empty ones at its end. Most fit into
// a field of the record.
func (a Attempt) Encode() []byte {
	raw := make([]byte, 0, 64)
	raw = strconv.AppendInt(append(raw, '['), a.At.UnixMilli(), 10)
	raw = strconv.AppendInt(append(raw, ','), a.Took.Milliseconds(), 10)
	raw = appendText(append(raw, ','), a.Class)
	if a.Status != 0 || a.Code+a.Message != "" {
		raw = strconv.AppendInt(append(raw, ','), int64(a.Status), 10)
	}
	if a.Code+a.Message != "" {
		raw = appendText(append(raw, ','), a.Code)
	}
	if a.Message != "" {
		raw = appendText(append(raw, ','), a.Message)
	}
	return append(raw, ']')
}

// appendText appends a JSON text.
func appendText(raw []byte, text string) []byte {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text always has an encoding
	}
	return append(raw, encoded...)
}

func decodeAttempt(raw string) (a Attempt, err error) {
	var at, ms int64
	all := []any{&at, &ms, &a.Class, &a.Status, &a.Code, &a.Message}
	if err := json.Unmarshal([]byte(raw), &all); err != nil {
		return Attempt{}, err
	}
	a.At, a.Took = time.UnixMilli(at), time.Duration(ms)*time.Millisecond
	return a, nil
}

// firstInLog stands in the field first if the first attempt is too long for it.
const firstInLog = "-"

// readScript reads a record with its log and its result at one moment.
//
// KEYS: record, log, data
// ARGV: 1 if the end of the task is awaited
//
// Returns {now, data, the number of attempts, each attempt, fields and values of the
// record}.
var readScript = redisscript.New(redisscript.NowMillis, `
local r = redis.call('HMGET', KEYS[1], 'asked', 'outcome')
if ARGV[1] == '1' and r[1] and not r[2] then
  redis.pcall('HSET', KEYS[1], 'waiting', 1) -- whoever waits also polls, so a Redis that takes no writes does no harm
end
local attempts = redis.call('LRANGE', KEYS[2], 0, -1)
local reply = {now, redis.call('GET', KEYS[3]) or '', #attempts}
for _, attempt in ipairs(attempts) do reply[#reply + 1] = attempt end
for _, text in ipairs(redis.call('HGETALL', KEYS[1])) do reply[#reply + 1] = text end
return reply
`)

// Get reads the record of a task; ErrNotFound, or ErrBadID, if there is none.
func (s *Store) Get(ctx context.Context, id string) (*Record, error) {
	return s.read(ctx, id, false)
}

// read is get in the queue that has the task.
func (s *Store) read(ctx context.Context, id string, wait bool) (r *Record, err error) {
	err = s.InQueue(ctx, id, func(queue string) (err error) {
		r, err = s.get(ctx, queue, id, wait)
		return err
	})
	return r, err
}

// get reads a record. With wait, the end of the task is published on its EndChannel.
func (s *Store) get(ctx context.Context, queue, id string, wait bool) (*Record, error) {
	keys := []string{Key(queue, id), logKey(queue, id), dataKey(queue, id)}
	reply, err := readScript.Run(ctx, s.rdb, keys, wait)
	if err != nil {
		return nil, fmt.Errorf("read the record: %w", err)
	}
	attempts := int(reply.Int(2))
	if attempts < 0 || attempts > len(reply)-3 {
		return nil, fmt.Errorf("read the record: it has %d attempts in a reply of %d elements", attempts, len(reply))
	}
	fields := map[string]string{}
	for i := 3 + attempts; i+1 < len(reply); i += 2 {
		fields[reply.Text(i)] = reply.Text(i + 1)
	}
	if len(fields) == 0 {
		return nil, ErrNotFound
	}
	r := newRecord(queue, id, fields, reply.Time(0))
	if data := reply.Text(1); data != "" {
		r.Data = []byte(data)
	}
	var log []string
	if first := fields["first"]; first != "" && first != firstInLog {
		log = append(log, first)
	}
	for i := range attempts {
		log = append(log, reply.Text(3+i))
	}
	for i, raw := range log {
		a, err := decodeAttempt(raw)
		if err != nil {
			return nil, fmt.Errorf("read attempt %d of the record: %w", i+1, err)
		}
		r.History = append(r.History, a)
	}
	r.Attempts = len(r.History)
	return r, nil
}

func newRecord(queue, id string, fields map[string]string, now time.Time) *Record {
	asked := DecodeAsked(fields["asked"])
	r := &Record{
		ID:      id,
		Type:    asked.Type,
		Queue:   queue,
		Outcome: Outcome(fields["outcome"]),
		Code:    fields["code"],
		Message: fields["message"],
		Created: asked.Created,
		Due:     asked.Due,
		Expires: asked.Expires(),
		Next:    millis(fields["next"]),
		Ended:   millis(fields["ended"]),

		Owner:    fields["owner"],
		Replay:   fields["replay"],
		ReplayOf: fields["replay_of"],

		Digests:   strings.Fields(fields["of"] + " " + fields["ids"]),
		VendorIDs: strings.Fields(fields["ids"]),
	}
	if name, scheduled := strings.CutPrefix(fields["by"], bySchedule); scheduled {
		r.Schedule = name
	} else {
		r.By = name
	}
	if words := strings.Fields(fields["once"]); len(words) > 4 {
		r.Scheduled = strings.Contains(words[3], "s")
		r.Keyed = words[4] != "-"
	}
	if words := strings.Fields(fields["waited"]); len(words) == 3 {
		r.WaitedSince = millis(words[0])
		r.Waits = atoi(words[1])
		r.WaitedFor = words[2]
	}
	switch {
	case r.Outcome != "":
		r.State = Ended
	case fields["owner"] != "":
		r.State = Running
	case fields["parked"] != "":
		r.State = Parked
	case !r.Next.IsZero():
		r.State = Retrying
	case r.Due.After(now):
		r.State = Scheduled
	default:
		r.State = Pending
	}
	return r
}
