package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

var fields = []string{"name", "every", "cron", "timeZone", "type", "payload", "forEach", "spread"}

// A name is part of keys in Redis and of metrics.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// manyFaults bounds what is reported of one list of subjects.
const manyFaults = 10

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
		File: d.r.path, Line: at.line, Column: at.column, Text: d.label + ": " + fmt.Sprintf(format, args...),
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
		fmt.Fprintf(sum, "%d:%s", len(part), part)
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
		d.fault(at, "name must have 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit")
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
			d.fault(at, "timeZone is unknown; it must be the name of a zone such as America/Sao_Paulo")
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
		d.fault(at, "spread is longer than the time between two ticks, %s", s.timing.shortest())
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
	info, known := tasks.Find(taskType)
	if !known || info.Internal {
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
		doc, _ = jsonValue(m.value, func(at place, text string) { d.fault(at, "payload: %s", text) }).(map[string]any)
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

func (d *draft) template(s *Schedule, info tasks.Info, doc map[string]any, path string, at place) bool {
	t, err := newTemplate(info, doc, path)
	if err != nil {
		d.fault(at, "forEach: %v", err)
		return false
	}
	s.template = t
	return true
}

func (d *draft) forEach(s *Schedule, info tasks.Info, doc map[string]any, m member) {
	entries, ok := members(m.value)
	if !ok || len(entries) != 1 {
		d.fault(placeOf(m.value), "forEach must have exactly one field, as in {userId: [u1, u2]}")
		return
	}
	field := entries[0]
	if !d.template(s, info, doc, field.name, field.key) {
		return
	}
	at := placeOf(field.value)
	if list, isList := field.value.(*ast.SequenceNode); isList {
		s.subjects = d.inline(s, list, at)
		return
	}
	name, isText := text(field.value)
	file, isFile := strings.CutPrefix(name, "@")
	if !isText || !isFile || file == "" {
		d.fault(at, "forEach: %s must be a list, or \"@file\"", field.name)
		return
	}
	var err error
	s.subjects = d.r.subjectsFrom(file, func(subject string) error {
		if _, err = s.template.decode(subject); err == nil {
			return nil
		}
		return d.subjectFault(err, field.name)
	})
	d.wrong = d.wrong || s.subjects == nil
}

// errElsewhere: the fault of a payload is not its subject's, and was reported
// where it is.
var errElsewhere = errors.New("the payload breaks a rule")

// subjectFault reports what is wrong with the rest of the payload, and returns
// what is wrong with the subject.
func (d *draft) subjectFault(err error, path string) error {
	wrong, ok := errors.AsType[*tasks.PayloadError](err)
	if !ok {
		return err
	}
	own := &payload.Error{}
	rest := &payload.Error{}
	for _, p := range wrong.Problems {
		if p.Field == path || strings.HasPrefix(p.Field, path+".") || strings.HasPrefix(p.Field, path+"[") {
			own.Problems = append(own.Problems, p)
		} else {
			rest.Problems = append(rest.Problems, p)
		}
	}
	if len(rest.Problems) > 0 {
		d.payloadFaults(rest, path, d.given["forEach"].key)
	}
	if len(own.Problems) > 0 {
		return own
	}
	return errElsewhere
}

// payloadFaults reports what is wrong with the payload as it stands in the file.
func (d *draft) payloadFaults(err error, path string, otherwise place) {
	m, given := d.given["payload"]
	if given {
		otherwise = m.key
	}
	wrong, ok := errors.AsType[*tasks.PayloadError](err)
	if !ok {
		d.fault(otherwise, "payload: %v", err)
		return
	}
	for _, p := range wrong.Problems {
		at := otherwise
		if p.Field != "" && p.Field != path {
			at = find(m.value, p.Field, otherwise)
		}
		d.fault(at, "payload: %v", &payload.Error{Problems: []payload.Problem{p}})
	}
}

// inline reads a list of subjects that stands in the schedule file.
func (d *draft) inline(s *Schedule, n *ast.SequenceNode, at place) *subjects {
	if len(n.Values) == 0 {
		d.fault(at, "forEach: the list is empty")
		return nil
	}
	list, known := &subjects{}, newSeen()
	var places []place
	faults := 0
	for _, v := range n.Values {
		if faults == manyFaults {
			d.fault(placeOf(v), "forEach: the subjects from here on were not looked at")
			return nil
		}
		at := placeOf(v)
		if err := d.subject(s, v, list, known, places); err != nil {
			if errors.Is(err, errElsewhere) { // and so do all the others
				return nil
			}
			d.fault(at, "forEach: %v", err)
			faults++
			continue
		}
		places = append(places, at)
	}
	return list
}

func (d *draft) subject(s *Schedule, n ast.Node, list *subjects, known *seen, places []place) error {
	subject, ok := text(n)
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		subject, ok = n.GetToken().Value, true
	}
	if !ok {
		return errors.New("a subject must be a text or a number")
	}
	if rule := subjectRule([]byte(subject)); rule != "" {
		return errors.New("the subject " + rule)
	}
	if i := known.before(list, []byte(subject)); i >= 0 {
		return fmt.Errorf("the subject stands in line %d already", places[i].line)
	}
	if _, err := s.template.decode(subject); err != nil {
		return d.subjectFault(err, s.template.path)
	}
	known.add(list, []byte(subject))
	return nil
}
