package schedule

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// manyFaults bounds what is reported of one list of subjects.
const manyFaults = 10

func (d *draft) template(
	s *Schedule,
	info tasks.Info,
	doc map[string]any,
	path string,
	at place,
) bool {
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
		d.fault(
			placeOf(m.value),
			"forEach must have exactly one field, as in {userId: [u1, u2]}",
		)
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
		if p.Field == path || strings.HasPrefix(p.Field, path+".") ||
			strings.HasPrefix(p.Field, path+"[") {
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

func (d *draft) subject(
	s *Schedule,
	n ast.Node,
	list *subjects,
	known *seen,
	places []place,
) error {
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
