package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"errand.internal/tasks/all"
)

var fields = []string{
	"name",
	"every",
	"cron",
	"timeZone",
	"type",
	"payload",
	"forEach",
	"spread",
}

// A name is part of keys in Redis and of metrics.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// draft is an entry of the file on its way to becoming a Schedule.
type draft struct {
	r     *reading
	label string // the name, once it is known
	names map[string]place
	at    place
	given map[string]member
	wrong bool
}

func (d *draft) fault(at place, format string, args ...any) {
	d.wrong = true
	d.r.problems = append(d.r.problems, Problem{
		File:   d.r.path,
		Line:   at.line,
		Column: at.column,
		Text:   d.label + ": " + fmt.Sprintf(format, args...),
	})
}

// read returns nil if the entry is wrong; what is wrong has been reported.
func (d *draft) read(n ast.Node) *Schedule {
	d.at = placeOf(n)
	entries, ok := members(n)
	if !ok {
		d.fault(d.at, "must have fields: %s", strings.Join(fields, ", "))
		return nil
	}
	d.given = map[string]member{}
	for _, m := range entries {
		d.given[m.name] = m
	}
	s := &Schedule{}
	d.name(s)
	for _, m := range entries {
		if !slices.Contains(fields, m.name) {
			d.fault(m.key, "%s", unknown(m.name, fields...))
		}
	}
	d.when(s)
	d.spread(s)
	d.tasks(s)
	if d.wrong {
		return nil
	}
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(s.Type), []byte(s.template.path), s.template.before, s.template.after, []byte(s.Spread.String())} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	if s.subjects != nil {
		sum.Write(s.subjects.text)
		_ = json.NewEncoder(sum).Encode(s.subjects.ends) // a hash takes everything
	}
	s.digest = hex.EncodeToString(sum.Sum(nil)[:16])
	return s
}

// text reads a field that is a text; given is false if there is none.
func (d *draft) text(name, hint string) (value string, at place, given bool) {
	m, there := d.given[name]
	if !there {
		return "", d.at, false
	}
	value, ok := text(m.value)
	if !ok {
		d.fault(placeOf(m.value), "%s must be %s", name, hint)
		return "", m.key, false
	}
	return value, placeOf(m.value), true
}

func (d *draft) name(s *Schedule) {
	name, at, given := d.text("name", "a text")
	if !given {
		if _, there := d.given["name"]; !there {
			d.fault(d.at, "name is missing")
		}
		return
	}
	if !validName.MatchString(name) {
		d.fault(
			at,
			"name must have 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit",
		)
		return
	}
	d.label, s.Name = name, name
	if first, twice := d.names[name]; twice {
		d.fault(at, "the name is used in line %d already", first.line)
		return
	}
	d.names[name] = at
}

func (d *draft) when(s *Schedule) {
	zone := time.UTC
	if name, at, given := d.text("timeZone", "the name of a zone such as America/Sao_Paulo"); given {
		loc, err := time.LoadLocation(name)
		if err != nil || name == "" || name == "Local" {
			d.fault(
				at,
				"timeZone is unknown; it must be the name of a zone such as America/Sao_Paulo",
			)
		} else {
			zone = loc
		}
	}
	_, every := d.given["every"]
	second, cron := d.given["cron"]
	switch {
	case every && cron:
		d.fault(second.key, "every and cron exclude each other")
		return
	case !every && !cron:
		d.fault(d.at, "every or cron is missing")
		return
	}
	var err error
	if expr, at, given := d.text("every", "a duration such as 30s, 5m or 24h"); given {
		if s.timing, err = parseEvery(expr); err != nil {
			d.fault(at, "every %v", err)
		}
	}
	if expr, at, given := d.text("cron", "a text of 5 fields, in quotes"); given {
		if s.timing, err = parseCron(expr, zone); err != nil {
			d.fault(at, "cron %v", err)
		}
	}
}

func (d *draft) spread(s *Schedule) {
	value, at, given := d.text("spread", "a duration such as 20s")
	if !given {
		return
	}
	spread, err := time.ParseDuration(value)
	switch {
	case err != nil:
		d.fault(at, "spread must be a duration such as 20s")
	case spread < 0:
		d.fault(at, "spread must not be negative")
	case s.timing.text != "" && spread > s.timing.shortest():
		d.fault(
			at,
			"spread is longer than the time between two ticks, %s",
			s.timing.shortest(),
		)
	}
	s.Spread = spread
}

// tasks reads type, payload and forEach, and checks every payload.
func (d *draft) tasks(s *Schedule) {
	taskType, at, given := d.text("type", "a task type such as anna:messenger:alerts")
	if !given {
		if _, there := d.given["type"]; !there {
			d.fault(d.at, "type is missing")
		}
		return
	}
	info, known := all.Vendors.Find(taskType)
	if !known {
		d.fault(at, "type is unknown; `enqueue types` lists them")
		return
	}
	s.Type = taskType

	doc := map[string]any{}
	if m, given := d.given["payload"]; given {
		if _, object := members(m.value); !object {
			d.fault(placeOf(m.value), "payload must be an object")
			return
		}
		before := len(d.r.problems)
		doc, _ = jsonValue(m.value, func(at place, text string) {
			d.fault(at, "payload: %s", text)
		}).(map[string]any)
		if len(d.r.problems) > before {
			return
		}
	}
	m, each := d.given["forEach"]
	if !each {
		d.template(s, info, doc, "", d.at)
		if _, err := s.template.decode(""); err != nil {
			d.payloadFaults(err, "", d.at)
		}
		return
	}
	d.forEach(s, info, doc, m)
}
