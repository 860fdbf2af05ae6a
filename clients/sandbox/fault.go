package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault describes how calls fail on demand. The zero Fault does nothing.
// Fields combine: Code with Status, Delay with anything.
type Fault struct {
	// Op is the operation that fails, "" for all.
	Op string `json:"op,omitempty"`
	// Times is how many calls fail, 0 for all until the fault is cleared.
	Times int `json:"times,omitempty"`
	// Skip is how many matching calls pass first.
	Skip int `json:"skip,omitempty"`
	// AfterEffect runs the operation before its answer is replaced or delayed.
	// Without it, a replaced operation does not run at all.
	AfterEffect bool `json:"afterEffect,omitempty"`

	// Faults that replace the answer.

	// Status answers with this status and an empty body, unless Body, HTML or
	// Code gives one.
	Status int `json:"status,omitempty"`
	// Header is added to the answer.
	Header map[string]string `json:"header,omitempty"`
	// RetryAfter is the Retry-After header: seconds or an HTTP date.
	RetryAfter string `json:"retryAfter,omitempty"`
	// Body is sent unchanged, with status 200 unless Status says otherwise.
	Body *string `json:"body,omitempty"`
	// HTML sends a web page, with status 200 unless Status says otherwise.
	HTML bool `json:"html,omitempty"`
	// Code sends the vendor's own answer with this code in it.
	Code string `json:"code,omitempty"`
	// Redirect sends the client to this URL, with 307 unless Status says
	// otherwise.
	Redirect string `json:"redirect,omitempty"`
	// Drop closes the connection without an answer.
	Drop bool `json:"drop,omitempty"`

	// Faults that change the answer on its way.

	// Truncate announces the whole answer and sends half of it.
	Truncate bool `json:"truncate,omitempty"`
	// Oversized appends 10 MiB of spaces to the answer, which JSON allows.
	Oversized bool `json:"oversized,omitempty"`
	// Slow sends one byte at a time and pauses this long after each.
	Slow time.Duration `json:"slow,omitempty"`
	// ContentType replaces the Content-Type of the answer.
	ContentType string `json:"contentType,omitempty"`

	// Delay waits before the operation, or with AfterEffect after it.
	Delay time.Duration `json:"delay,omitempty"`
	// ExpireToken makes the vendor's sandbox invalidate its tokens first.
	ExpireToken bool `json:"expireToken,omitempty"`
}

// replaces reports whether the fault replaces the answer of the operation.
func (f Fault) replaces() bool {
	return f.Status != 0 ||
		f.Body != nil ||
		f.HTML ||
		f.Code != "" ||
		f.Redirect != "" ||
		f.Drop
}

// UnmarshalJSON implements json.Unmarshaler. Durations are strings such as "200ms",
// and an unknown field is an error.
func (f *Fault) UnmarshalJSON(raw []byte) error {
	type plain Fault
	in := struct {
		*plain
		Slow  string `json:"slow"`
		Delay string `json:"delay"`
	}{plain: (*plain)(f)}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return fmt.Errorf("decode fault: %w", err)
	}
	for _, d := range []struct {
		text string
		into *time.Duration
	}{
		{in.Slow, &f.Slow},
		{in.Delay, &f.Delay},
	} {
		if d.text == "" {
			continue
		}
		parsed, err := time.ParseDuration(d.text)
		if err != nil {
			return fmt.Errorf("decode fault: %w", err)
		}
		*d.into = parsed
	}
	return nil
}

// MarshalJSON implements json.Marshaler. Durations are strings such as "200ms".
func (f Fault) MarshalJSON() ([]byte, error) {
	type plain Fault
	out := struct {
		plain
		Slow  string `json:"slow,omitempty"`
		Delay string `json:"delay,omitempty"`
	}{plain: plain(f)}
	if f.Slow > 0 {
		out.Slow = f.Slow.String()
	}
	if f.Delay > 0 {
		out.Delay = f.Delay.String()
	}
	return json.Marshal(out)
}

func (e *Engine) checkFault(f Fault) error {
	switch {
	case !e.known(f.Op):
		return errors.New("no operation " + f.Op)
	case f.Code != "" && e.recode == nil:
		return errors.New("this vendor has no codes")
	case f.Status != 0 && (f.Status < 200 || f.Status > 999):
		return errors.New("not a final status: " + strconv.Itoa(f.Status))
	case f.Times < 0 || f.Skip < 0:
		return errors.New("times and skip must not be negative")
	}
	return nil
}

// armedFault is a fault that applies to coming calls.
type armedFault struct {
	Fault
	skip int
	left int // calls; -1 until cleared
}

// Inject arms faults. If several match a call, the one armed first applies. Inject
// panics at a fault that can never apply.
func (e *Engine) Inject(faults ...Fault) {
	for _, f := range faults {
		if err := e.checkFault(f); err != nil {
			panic("sandbox: " + err.Error())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = slices.DeleteFunc(e.faults, func(a *armedFault) bool { return a.left == 0 })
	for _, f := range faults {
		left := f.Times
		if left == 0 {
			left = -1
		}
		e.faults = append(e.faults, &armedFault{
			Fault: f,
			skip:  f.Skip,
			left:  left,
		})
	}
}

// Clear disarms the faults of op, or all faults if op is "".
func (e *Engine) Clear(op string) {
	e.mustKnow(op)
	e.mu.Lock()
	defer e.mu.Unlock()
	var kept []*armedFault
	for _, a := range e.faults {
		if op != "" && a.Op != op {
			kept = append(kept, a)
		}
	}
	e.faults = kept
}

// takeFault returns the fault that applies to a call of op. e.mu is held.
func (e *Engine) takeFault(op string) Fault {
	for _, a := range e.faults {
		switch {
		case a.left == 0 || (a.Op != "" && a.Op != op):
		case a.skip > 0:
			a.skip--
		default:
			if a.left > 0 {
				a.left--
			}
			return a.Fault
		}
	}
	return Fault{}
}

// faultAnswer returns the answer that replaces the original one of the operation,
// which is nil if the operation did not run.
func (e *Engine) faultAnswer(call *Call, original *Answer) Answer {
	f := call.Fault
	a := Answer{Status: http.StatusOK, Header: http.Header{}}
	switch {
	case f.Redirect != "":
		a.Status = http.StatusTemporaryRedirect
		a.Header.Set("Location", f.Redirect)
	case f.Code != "":
		a = e.recode(call, f.Code, original)
	case f.HTML:
		a.Header.Set("Content-Type", "text/html; charset=utf-8")
		a.Body = []byte("<!DOCTYPE html><html><body><h1>It works</h1></body></html>")
	case f.Body != nil:
		a.Header.Set("Content-Type", "application/json")
		a.Body = []byte(*f.Body)
	}
	if f.Status != 0 {
		a.Status = f.Status
	}
	return a
}
