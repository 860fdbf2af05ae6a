package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"errand.internal/internal/payload"
	"errand.internal/internal/produce"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// slack is how much longer than its wait a request may take.
const slack = 10 * time.Second

// enqueue stores one task, and waits for its outcome if that is asked for.
func (a *api) enqueue(q *request) error {
	info, known := all.Vendors.Find(q.PathValue("type"))
	if !known {
		return unknownType(q.PathValue("type"))
	}
	if !q.client.allows(info.Type) {
		return forbiddenType(q.client.name, info.Type)
	}
	raw, err := q.payload()
	if err != nil {
		return err
	}
	asked, err := q.asked(info, raw)
	if err != nil {
		return err
	}
	ticket, err := produce.Enqueue(q.ctx, a.client, asked.payload, asked.options)
	if err != nil {
		return err
	}
	r := produce.NewReport(info.Type, ticket, asked.delayed)
	a.follow(q, r, asked.wait, ticket.Outcome)
	status := http.StatusAccepted
	if r.Duplicate || r.State == produce.StateEnded {
		status = http.StatusOK
	}
	q.w.Header()["Location"] = []string{tasksPath + "/" + r.ID}
	q.w.json(status, r)
	return nil
}

// follow fills in the state of a stored task, after waiting for its end if wait is not
// 0. keyOutcome is the outcome that a duplicate's key keeps longer than the record.
// What cannot be read is left out: the task is stored.
func (a *api) follow(q *request, r *produce.Report, wait time.Duration, keyOutcome tasks.Outcome) {
	var status *tasks.Status
	var err error
	switch {
	case wait > 0:
		status, err = a.wait(q, r.ID, wait)
	case r.Duplicate:
		status, err = a.client.Status(q.ctx, r.ID)
	default:
		return
	}
	switch {
	case status != nil:
		r.SetStatus(status)
		if !q.mayRead(status) {
			conceal(r)
		}
	case errors.Is(err, tasks.ErrNotFound) && keyOutcome != "":
		r.State, r.Outcome = produce.StateEnded, keyOutcome
	case errors.Is(err, tasks.ErrNotFound):
		r.State = produce.StateForgotten
	}
}

// wait waits for the end of a task as long as the request may, and the worker runs on.
func (a *api) wait(q *request, id string, wait time.Duration) (*tasks.Status, error) {
	q.extend(wait)
	ctx, cancel := a.untilStop(q)
	defer cancel()
	return produce.Wait(ctx, a.client, id, wait)
}

// conceal takes out what only the key that enqueued a task may see.
func conceal(r *produce.Report) {
	r.Code, r.Message = nil, nil
	r.Attempts = nil
	r.Data = nil
}

// asked is what a request to enqueue asks for.
type asked struct {
	payload tasks.Payload
	options []tasks.Option
	wait    time.Duration
	delayed bool
}

// asked reads a request. Its problem names every place at fault.
func (q *request) asked(info tasks.Info, raw []byte) (asked, error) {
	p := newParameters(q.Request)
	var read asked
	read.options, read.delayed = p.options(time.Now())
	read.wait = p.wait()
	read.options = append(read.options, by(q.client.name))
	key, keyed := p.key()
	faults := p.end()
	var err error
	read.payload, err = info.Decode(raw)
	if err == nil && keyed {
		read.options = append(read.options, tasks.Key(key))
		_, err = tasks.KeyOf(read.payload, key)
	}
	if wrong, ok := errors.AsType[*tasks.PayloadError](err); ok {
		faults = append(faults, payloadFaults(wrong)...)
	} else if err != nil {
		return asked{}, err
	}
	if len(faults) > 0 {
		return asked{}, invalid(faults...)
	}
	return read, nil
}

// payload reads the body of a request.
func (q *request) payload() ([]byte, error) {
	if err := q.uncompressed(); err != nil {
		return nil, err
	}
	if q.ContentLength > payload.MaxSize {
		q.w.Header().Set("Connection", "close") // nobody reads the rest
		return nil, tooLarge()
	}
	raw, err := q.readAll()
	if err != nil {
		q.w.Header().Set("Connection", "close") // nobody reads the rest
		return nil, bodyProblem(err)
	}
	if !utf8.Valid(raw) {
		return nil, invalid(Fault{In: "body", Rule: "must be UTF-8"})
	}
	return raw, nil
}

// smallBody is the size up to which a body is read into a buffer of its announced size.
// That of a larger one grows as it arrives: what is only announced takes no memory.
const smallBody = 8 << 10

// readAll reads the body. The server bounds how long that may take.
func (q *request) readAll() ([]byte, error) {
	if 0 <= q.ContentLength && q.ContentLength <= smallBody {
		raw := make([]byte, q.ContentLength)
		if _, err := io.ReadFull(q.Body, raw); err != nil {
			return nil, err
		}
		return raw, q.Body.Close() // net/http then looks for no rest of it
	}
	return io.ReadAll(http.MaxBytesReader(&q.w, q.Body, payload.MaxSize))
}

func tooLarge() *Problem {
	return problem(http.StatusRequestEntityTooLarge, "too-large", "a payload has at most 524288 bytes")
}

// bodyProblem returns the problem of a body that cannot be read.
func bodyProblem(err error) *Problem {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return tooLarge()
	}
	if isTimeout(err) {
		return problem(http.StatusRequestTimeout, "timeout", "nothing was stored; the body has to arrive within 10 s")
	}
	return problem(http.StatusBadRequest, "incomplete", "the body ended before its announced end")
}

// uncompressed refuses a body that would have to be unpacked.
func (q *request) uncompressed() error {
	if encoding := q.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return problem(http.StatusUnsupportedMediaType, "encoding", "send the body as it is, without Content-Encoding")
	}
	return nil
}

// readUntil bounds the reading of the body.
func (q *request) readUntil(deadline time.Time) {
	_ = http.NewResponseController(&q.w).SetReadDeadline(deadline)
}

// extend lets a request that waits stay open. Without that, the deadline of the body
// would end it.
func (q *request) extend(wait time.Duration) {
	q.readUntil(time.Now().Add(wait + slack))
	_ = http.NewResponseController(&q.w).SetWriteDeadline(time.Now().Add(wait + slack))
}
