package payload

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// shape is what a type says about its values: the tags of a struct's fields, and how JSON
// becomes the value. It is read once a type, because every task is decoded and checked.
type shape struct {
	// decodesItself: the type has an UnmarshalJSON.
	decodesItself bool
	// plain: encoding/json decodes the type as its kind says.
	plain bool
	// object: it is a map[string]any, perhaps by another name.
	object bool
	// fields are those of a struct, in their order.
	fields []field
	// byName has the fields by their JSON names, those of embedded structs included.
	byName map[string]target
}

// field is a field of a struct.
type field struct {
	index int
	name  string // in JSON; "" for an embedded struct, whose fields are the struct's own
	text  TextKind
	rules []rule
}

// target is where a member of a JSON object goes: a field, behind the embedded structs that
// it is in.
type target struct {
	name  string
	index []int
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	anyType         = reflect.TypeFor[any]()
	objectType      = reflect.TypeFor[map[string]any]()
)

var shapes sync.Map // of *shape by reflect.Type

// shapeOf returns the shape of a type. A rule that there is not panics: the tag is part of
// the program.
func shapeOf(t reflect.Type) *shape {
	if known, ok := shapes.Load(t); ok {
		return known.(*shape)
	}
	pointer := reflect.PointerTo(t)
	s := &shape{decodesItself: pointer.Implements(unmarshaler)}
	s.plain = !s.decodesItself && !pointer.Implements(textUnmarshaler) && t != reflect.TypeFor[json.Number]()
	s.object = t.Kind() == reflect.Map && t.ConvertibleTo(objectType)
	if t.Kind() == reflect.Struct {
		s.byName = map[string]target{}
		for i := range t.NumField() {
			s.add(i, t.Field(i))
		}
	}
	shapes.Store(t, s)
	return s
}

// add adds the field at an index. What has no name in JSON is no field of a payload.
func (s *shape) add(index int, f reflect.StructField) {
	name := jsonName(f)
	switch {
	case f.Anonymous:
		name = ""
		for _, inner := range shapeOf(f.Type).byName {
			s.byName[inner.name] = target{inner.name, append([]int{index}, inner.index...)}
		}
	case name == "":
		return
	default:
		s.byName[name] = target{name, []int{index}}
	}
	s.fields = append(s.fields, field{
		index: index,
		name:  name,
		text:  TextKind(f.Tag.Get("text")),
		rules: readRules(f),
	})
}

// jsonName returns the name of a field in JSON, "" if it has none.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// pass goes through a payload. It knows where it is, and notes what is wrong there. Few
// payloads have a fault, so the text of a path is made only then.
type pass struct {
	path     []step
	problems []Problem
}

func newPass(problems []Problem) pass {
	return pass{path: make([]step, 0, 8), problems: problems}
}

func (p *pass) fault(rule string) {
	p.problems = append(p.problems, Problem{formatPath(p.path), rule})
}

// enter goes to a member.
func (p *pass) enter(name string) {
	p.path = append(p.path, step{name: name, index: -1})
}

// enterEntry goes to an entry of a list.
func (p *pass) enterEntry(index int) {
	p.path = append(p.path, step{index: index})
}

// leave goes back.
func (p *pass) leave() {
	p.path = p.path[:len(p.path)-1]
}
