package schedule

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// maxFaults bounds the problems reported for one list of subjects.
const maxFaults = 10

// template prepares the payloads of the schedule. at is the position of the field
// that forEach fills.
func (p *entryParser) template(
	s *Schedule,
	info tasks.Info,
	doc map[string]any,
	path string,
	at position,
) bool {
	t, err := newTemplate(info, doc, path)
	if err != nil {
		p.report(at, "forEach: %v", err)
		return false
	}
	s.template = t
	return true
}

// forEach reads the subjects, from the schedule file or a subject file.
func (p *entryParser) forEach(s *Schedule, info tasks.Info, doc map[string]any) {
	mapping, ok := p.entry.ForEach.(*ast.MappingNode)
	if !ok || len(mapping.Values) != 1 {
		p.report(
			positionOf(p.entry.ForEach),
			"forEach must have exactly one field, as in {userId: [u1, u2]}",
		)
		return
	}
	key, value := mapping.Values[0].Key, mapping.Values[0].Value
	field := key.GetToken().Value
	if !p.template(s, info, doc, field, positionOf(key)) {
		return
	}
	if list, isList := value.(*ast.SequenceNode); isList {
		s.subjects = p.inlineSubjects(s.template, list)
		return
	}
	name, _ := stringValue(value)
	file, isFile := strings.CutPrefix(name, "@")
	if !isFile || file == "" {
		p.report(positionOf(value), "forEach: %s must be a list, or \"@file\"", field)
		return
	}
	s.subjects = p.reading.readSubjectFile(file, func(subject string) error {
		return p.checkPayload(s.template, subject)
	})
}

// errReported marks a problem that every subject shares. It has been reported
// where it is, in the payload.
var errReported = errors.New("the payload breaks a rule")

// checkPayload checks the payload of one subject. It returns what is wrong with
// the subject; what is wrong with the rest of the payload it reports.
func (p *entryParser) checkPayload(t template, subject string) error {
	_, err := t.decode(subject)
	wrong, ok := errors.AsType[*tasks.PayloadError](err)
	if !ok {
		return err
	}
	own, rest := &payload.Error{}, &payload.Error{}
	for _, problem := range wrong.Problems {
		if below(problem.Field, t.path) {
			own.Problems = append(own.Problems, problem)
		} else {
			rest.Problems = append(rest.Problems, problem)
		}
	}
	if len(rest.Problems) > 0 {
		p.reportPayload(rest, t.path, keyPosition(p.node, "forEach", p.at))
	}
	if len(own.Problems) > 0 {
		return own
	}
	return errReported
}

// below says whether a field is the one at path, or a part of it.
func below(field, path string) bool {
	return field == path || strings.HasPrefix(field, path+".") || strings.HasPrefix(field, path+"[")
}

// reportPayload reports what is wrong with the payload as written in the file:
// where its fields are, or at otherwise if there is no payload. path is the
// field that forEach fills.
func (p *entryParser) reportPayload(err error, path string, otherwise position) {
	otherwise = keyPosition(p.node, "payload", otherwise)
	wrong, ok := errors.AsType[*tasks.PayloadError](err)
	if !ok {
		p.report(otherwise, "payload: %v", err)
		return
	}
	for _, problem := range wrong.Problems {
		at := otherwise
		if problem.Field != path {
			at = keyPosition(p.entry.Payload, problem.Field, otherwise)
		}
		p.report(at, "payload: %v", &payload.Error{Problems: []payload.Problem{problem}})
	}
}

// inlineSubjects reads the subjects that the schedule file lists itself.
func (p *entryParser) inlineSubjects(t template, n *ast.SequenceNode) *subjects {
	if len(n.Values) == 0 {
		p.report(positionOf(n), "forEach: the list is empty")
		return nil
	}
	list := newSubjectList()
	faults := 0
	for _, element := range n.Values {
		at := positionOf(element)
		if faults == maxFaults {
			p.report(at, "forEach: the subjects from here on were not checked")
			return nil
		}
		err := p.addSubject(t, element, list)
		if errors.Is(err, errReported) {
			return nil // every other subject has the same problem
		}
		if err != nil {
			p.report(at, "forEach: %v", err)
			faults++
		}
	}
	return list.subjects
}

func (p *entryParser) addSubject(t template, n ast.Node, list *subjectList) error {
	subject, ok := stringValue(n)
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		subject = n.GetToken().Value // as written: 0042 stays 0042
		ok = true
	}
	if !ok {
		return errors.New("a subject must be a text or a number")
	}
	if rule := list.check([]byte(subject)); rule != "" {
		return fmt.Errorf("the subject %s", rule)
	}
	if err := p.checkPayload(t, subject); err != nil {
		return err
	}
	list.add([]byte(subject), positionOf(n).line)
	return nil
}
