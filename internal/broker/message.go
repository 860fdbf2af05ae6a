package broker

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"errand.internal/internal/tracing"
)

// message is asynq's encoded task: a protobuf whose fields it reads and changes
// without asynq's own code, which is internal to it.
type message []byte

// The fields of asynq's TaskMessage.
const (
	fieldType         protowire.Number = 1
	fieldPayload      protowire.Number = 2
	fieldID           protowire.Number = 3
	fieldQueue        protowire.Number = 4
	fieldRetry        protowire.Number = 5
	fieldRetried      protowire.Number = 6
	fieldErrorMsg     protowire.Number = 7
	fieldTimeout      protowire.Number = 8
	fieldDeadline     protowire.Number = 9
	fieldLastFailedAt protowire.Number = 11
	fieldRetention    protowire.Number = 12
	fieldCompletedAt  protowire.Number = 13
	fieldHeaders      protowire.Number = 15
)

// headerReplayed has the trace of the dead letter that the task replays.
const headerReplayed = "errand-replayed-trace"

const (
	// neverRetry is the MaxRetry of every task. asynq's count plays no part:
	// attempts and budget are in the task's record.
	neverRetry = math.MaxInt32
	// slotTimeout is asynq's own bound on a handler, of which every message must have
	// one. It plays no part, either: asynq runs no handler of ours.
	slotTimeout = time.Hour
)

// fields calls do with each field, in the order of the message, and reports
// whether the message was well-formed.
func (m message) fields(do func(n protowire.Number, kind protowire.Type, value []byte)) bool {
	for raw := []byte(m); len(raw) > 0; {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		raw = raw[n:]
		n = protowire.ConsumeFieldValue(number, kind, raw)
		if n < 0 {
			return false
		}
		do(number, kind, raw[:n])
		raw = raw[n:]
	}
	return true
}

// parts are what a worker needs of a message.
type parts struct {
	taskType string
	payload  []byte
	headers  map[string]string
	// completed says that asynq has recorded the end of the task, failed that it has
	// recorded an attempt that was not the last.
	completed bool
	failed    bool
}

func (m message) parts() (p parts, ok bool) {
	ok = m.fields(func(n protowire.Number, kind protowire.Type, value []byte) {
		switch {
		case n == fieldCompletedAt:
			p.completed = true
		case n == fieldLastFailedAt:
			p.failed = true
		case kind != protowire.BytesType:
		case n == fieldType:
			p.taskType = string(content(value))
		case n == fieldPayload:
			p.payload = content(value)
		case n == fieldHeaders:
			name, text := entry(content(value))
			if p.headers == nil {
				p.headers = map[string]string{}
			}
			p.headers[name] = text
		}
	})
	return p, ok
}

// content is a length-prefixed value without its length.
func content(value []byte) []byte {
	b, _ := protowire.ConsumeBytes(value)
	return b
}

// entry reads an entry of a map of texts.
func entry(raw []byte) (name, text string) {
	message(raw).fields(func(n protowire.Number, _ protowire.Type, value []byte) {
		if n == 1 {
			name = string(content(value))
		} else {
			text = string(content(value))
		}
	})
	return name, text
}

// with returns the message with some numbers and texts replaced, in the order of
// their fields as asynq encodes them. A zero or empty value removes the field.
func (m message) with(numbers map[protowire.Number]int64, texts map[protowire.Number]string) message {
	out := make(message, 0, len(m)+64)
	done := protowire.Number(0)
	insert := func(until protowire.Number) {
		until = min(until, fieldHeaders) // the last that is ours
		for n := done + 1; n <= until; n++ {
			if v := numbers[n]; v != 0 {
				out = protowire.AppendVarint(protowire.AppendTag(out, n, protowire.VarintType), uint64(v))
			}
			if text := texts[n]; text != "" {
				out = protowire.AppendString(protowire.AppendTag(out, n, protowire.BytesType), text)
			}
		}
		done = max(done, until)
	}
	m.fields(func(n protowire.Number, kind protowire.Type, value []byte) {
		insert(n)
		_, number := numbers[n]
		_, text := texts[n]
		if !number && !text {
			out = append(protowire.AppendTag(out, n, kind), value...)
		}
	})
	insert(fieldHeaders)
	return out
}

// newMessage is the message of a new task, as asynq's client encodes it. traceparent is
// that of its producer; "" for none.
func newMessage(id string, job *Job, payload []byte, traceparent string) message {
	m := make(message, 0, len(id)+len(job.Type)+len(job.Policy.Queue)+len(payload)+len(traceparent)+80)
	m = m.begin(id, job.Type, job.Policy.Queue, payload).unending()
	if seconds := job.Policy.Retention / time.Second; seconds > 0 {
		m = protowire.AppendTag(m, fieldRetention, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(seconds))
	}
	m = m.header(headerUsable, usable(job).String())
	if traceparent != "" {
		m = m.header(tracing.Header, traceparent)
	}
	return m
}

// begin appends what every message begins with.
func (m message) begin(id, taskType, queue string, payload []byte) message {
	m = protowire.AppendString(protowire.AppendTag(m, fieldType, protowire.BytesType), taskType)
	if len(payload) > 0 {
		m = protowire.AppendBytes(protowire.AppendTag(m, fieldPayload, protowire.BytesType), payload)
	}
	m = protowire.AppendString(protowire.AppendTag(m, fieldID, protowire.BytesType), id)
	return protowire.AppendString(protowire.AppendTag(m, fieldQueue, protowire.BytesType), queue)
}

// unending appends that by which asynq does not end the task itself.
func (m message) unending() message {
	m = protowire.AppendVarint(protowire.AppendTag(m, fieldRetry, protowire.VarintType), neverRetry)
	m = protowire.AppendTag(m, fieldTimeout, protowire.VarintType)
	return protowire.AppendVarint(m, uint64(slotTimeout/time.Second))
}

// header appends a header.
func (m message) header(name, value string) message {
	size := protowire.SizeTag(1) + protowire.SizeBytes(len(name)) + protowire.SizeTag(2) + protowire.SizeBytes(len(value))
	m = protowire.AppendTag(m, fieldHeaders, protowire.BytesType)
	m = protowire.AppendVarint(m, uint64(size))
	m = protowire.AppendString(protowire.AppendTag(m, 1, protowire.BytesType), name)
	return protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), value)
}

// completedCopy is what asynq keeps of a completed task that was enqueued with Errand: it
// has no payload, for the task never runs again.
func completedCopy(id, taskType, queue string, at time.Time, retention time.Duration) message {
	m := make(message, 0, len(id)+len(taskType)+len(queue)+24)
	m = m.begin(id, taskType, queue, nil)
	if seconds := retention / time.Second; seconds > 0 {
		m = protowire.AppendVarint(protowire.AppendTag(m, fieldRetention, protowire.VarintType), uint64(seconds))
	}
	return protowire.AppendVarint(protowire.AppendTag(m, fieldCompletedAt, protowire.VarintType), uint64(at.Unix()))
}

// completed is the message of a task that asynq keeps as completed.
func (m message) completed(at time.Time, retention time.Duration) message {
	return m.with(map[protowire.Number]int64{
		fieldCompletedAt: at.Unix(),
		fieldRetention:   int64(retention / time.Second),
	}, nil)
}

// failed is the message of a task that asynq keeps for a retry, or as archived.
func (m message) failed(at time.Time, text string) message {
	return m.with(
		map[protowire.Number]int64{fieldLastFailedAt: at.Unix()},
		map[protowire.Number]string{fieldErrorMsg: text},
	)
}

// adopted is the message of a task that a plain asynq client enqueued, without the
// options that would have asynq end it.
func (m message) adopted(retention time.Duration) message {
	return m.with(map[protowire.Number]int64{
		fieldRetry:     neverRetry,
		fieldRetried:   0,
		fieldTimeout:   int64(slotTimeout / time.Second),
		fieldDeadline:  0,
		fieldRetention: int64(retention / time.Second),
	}, nil)
}
