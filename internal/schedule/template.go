package schedule

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"errand.internal/internal/payload"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// template makes a schedule's payloads. It holds the JSON before and after the
// subject instead of one payload per subject.
type template struct {
	info   tasks.Info
	path   string // of the subject's field; "" without forEach
	field  payload.Column
	before []byte
	after  []byte
}

// newTemplate makes a template from the payload in the file. header is that of the
// column of subjects, whose field the payload must not have; "" without forEach.
func newTemplate(info tasks.Info, doc map[string]any, header string) (template, error) {
	t := template{info: info}
	if header == "" {
		raw, err := json.Marshal(doc)
		t.before = raw
		return t, err
	}
	var err error
	t.field, err = payload.NewColumn(info.Example, header)
	switch {
	case strings.ContainsAny(header, "[]"):
		return t, errors.New("the path must not have a list entry")
	case err != nil && !errors.Is(err, payload.ErrNoField): // which each subject's payload names
		return t, err
	}
	t.path = t.field.Path()
	if err := checkVacant(doc, t.path); err != nil {
		return t, err
	}
	placeholder := rand.Text()
	if err := t.field.Put(doc, placeholder); err != nil {
		return t, err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return t, err
	}
	t.before, t.after, _ = bytes.Cut(raw, []byte(`"`+placeholder+`"`))
	return t, nil
}

// checkVacant checks that the payload leaves the field at path to forEach.
func checkVacant(doc map[string]any, path string) error {
	segments := strings.Split(path, ".")
	for i, segment := range segments {
		value, given := doc[segment]
		if !given {
			return nil
		}
		inner, object := value.(map[string]any)
		if i == len(segments)-1 {
			return fmt.Errorf("payload gives %s too", path)
		}
		if !object {
			return fmt.Errorf("payload.%s is not an object", strings.Join(segments[:i+1], "."))
		}
		doc = inner
	}
	return nil
}

// raw is the payload for a subject as JSON, not yet checked. The error says that the
// subject does not have the type of its column.
func (t template) raw(subject string) ([]byte, error) {
	if t.path == "" {
		return t.before, nil
	}
	value, err := t.field.JSON(subject)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(t.before)+len(value)+len(t.after))
	return append(append(append(out, t.before...), value...), t.after...), nil
}

// decode reads and checks the payload for a subject. A payload with a key of its own
// is refused: the key of a scheduled task is its tick, and beside it every tick would
// create the same record once more.
func (t template) decode(subject string) (worker.Payload, error) {
	raw, err := t.raw(subject)
	if err != nil {
		return nil, err
	}
	p, err := t.info.Decode(raw)
	if err != nil {
		return nil, err
	}
	if keyed, ok := p.(tasks.Keyed); ok && keyed.Key() != "" {
		field, _ := keyed.KeyField()
		return nil, &tasks.PayloadError{Problems: []payload.Problem{{
			Field: field,
			Rule:  "must be left out: a schedule would create the same record at every tick",
		}}}
	}
	return p, nil
}

// FirstPayload is the payload of the first task of a tick as JSON.
func (s *Schedule) FirstPayload() []byte {
	return s.payload(0)
}

// payload is the payload of the i-th task of a tick as JSON.
func (s *Schedule) payload(i int) []byte {
	raw, _ := s.template.raw(s.subject(i)) // every subject was checked
	return raw
}

// subject is the subject of the i-th task of a tick; "" without forEach.
func (s *Schedule) subject(i int) string {
	if s.subjects == nil {
		return ""
	}
	return s.subjects.at(i)
}
