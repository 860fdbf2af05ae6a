package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/produce"
	"errand.internal/tasks"
)

// idempotencyKey is the header that holds a task's key.
const idempotencyKey = "Idempotency-Key"

// maxWait is how long a request may wait for an outcome.
const maxWait = time.Minute

// parameters reads the query and the headers of a request, and collects their faults.
type parameters struct {
	query  url.Values
	header http.Header
	known  []string
	faults []Fault
}

func newParameters(r *http.Request) *parameters {
	p := &parameters{header: r.Header}
	if r.URL.RawQuery == "" {
		return p
	}
	var err error
	if p.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		p.fault("query", "", "cannot be parsed")
	}
	return p
}

func (p *parameters) fault(in, field, rule string) {
	p.faults = append(p.faults, Fault{
		In:    in,
		Field: field,
		Rule:  rule,
	})
}

// text returns a parameter, and whether it is there.
func (p *parameters) text(name string) (value string, given bool) {
	if len(p.query) == 0 {
		return "", false
	}
	p.known = append(p.known, name)
	values := p.query[name]
	if len(values) > 1 {
		p.fault("query", name, "must be given once")
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

func (p *parameters) flag(name string) bool {
	value, given := p.text(name)
	if !given {
		return false
	}
	set, err := strconv.ParseBool(value)
	if err != nil {
		p.fault("query", name, "must be true or false")
	}
	return set
}

func (p *parameters) duration(name string) *time.Duration {
	value, given := p.text(name)
	if !given {
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		p.fault("query", name, "must be a duration, such as 90s, 10m or 1h30m")
		return nil
	}
	return &d
}

func (p *parameters) time(name string) *time.Time {
	value, given := p.text(name)
	if !given {
		return nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		p.fault("query", name, "must be an RFC 3339 time, such as 2026-12-31T09:00:00Z; write %2B for a + in it")
		return nil
	}
	return &t
}

// wait returns how long to wait for the outcome, 0 for not at all.
func (p *parameters) wait() time.Duration {
	d := p.duration("wait")
	switch {
	case d == nil:
		return 0
	case *d <= 0 || *d > maxWait:
		p.fault("query", "wait", "must be above 0 and at most 60s")
	}
	return *d
}

// key returns the Idempotency-Key, and whether it is there.
func (p *parameters) key() (value string, given bool) {
	values := p.header.Values(idempotencyKey)
	switch {
	case len(values) == 0:
		return "", false
	case len(values) > 1:
		p.fault("header", idempotencyKey, "must be given once")
	case strings.TrimSpace(values[0]) == "":
		p.fault("header", idempotencyKey, "must not be empty; leave it out to enqueue without a key")
	}
	return values[0], true
}

// timingNames are the names of the parameters of a produce.Timing.
var timingNames = produce.TimingNames{
	In:        "in",
	At:        "at",
	UsableFor: "usableFor",
}

// options returns the options that the query asks for, and whether the task is to start
// later.
func (p *parameters) options(now time.Time) (opts []tasks.Option, delayed bool) {
	timing := produce.Timing{
		In:        p.duration(timingNames.In),
		At:        p.time(timingNames.At),
		UsableFor: p.duration(timingNames.UsableFor),
	}
	if timing.In != nil && timing.At != nil {
		p.fault("query", timingNames.At, "must not be given together with in")
	}
	opts, err := timing.Options(now, timingNames)
	for _, fault := range joined(err) {
		if wrong, ok := errors.AsType[*produce.TimingError](fault); ok {
			p.fault("query", wrong.Field, wrong.Rule)
		}
	}
	if p.flag("notify") {
		opts = append(opts, tasks.Notify())
	}
	return opts, timing.Delayed(now)
}

// joined returns the errors that errors.Join has joined.
func joined(err error) []error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()
	}
	return nil
}

// end adds a fault for each parameter that nothing has asked for. Its name is not
// quoted: it may be a key that somebody put into the address.
func (p *parameters) end() []Fault {
	unknown := 0
	for name := range p.query {
		if !slices.Contains(p.known, name) {
			unknown++
		}
	}
	if unknown > 0 {
		p.fault("query", "", "has a parameter that does not exist; there are "+strings.Join(p.known, ", "))
	}
	return p.faults
}
