package schedule

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// document is a schedule file as written.
type document struct {
	Schedules ast.Node `yaml:"schedules"`
}

// entry is one schedule as written.
type entry struct {
	Name     text     `yaml:"name"`
	Every    text     `yaml:"every"`
	Cron     text     `yaml:"cron"`
	TimeZone text     `yaml:"timeZone"`
	Type     text     `yaml:"type"`
	Payload  ast.Node `yaml:"payload"`
	ForEach  ast.Node `yaml:"forEach"`
	Spread   text     `yaml:"spread"`
}

// text is a field that takes only a YAML string: a number or a boolean that
// looks like one needs quotes.
type text struct {
	value string
	valid bool     // it is a string
	at    position // zero if the field is not given
}

// UnmarshalYAML implements yaml.NodeUnmarshaler. It accepts every node, so that
// one wrong field does not hide the others.
func (t *text) UnmarshalYAML(n ast.Node) error {
	t.at = positionOf(n)
	t.value, t.valid = stringValue(n)
	return nil
}

// position is a place in the schedule file, counted from 1.
type position struct {
	line   int
	column int
}

func positionOf(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // the token of a block mapping is its first colon
	}
	at := n.GetToken().Position
	return position{at.Line, at.Column}
}

// fault is a problem with the form of the schedule file.
type fault struct {
	at   position
	text string
}

// parseDocument parses the one document of a schedule file; body is nil if the
// file is empty. It refuses anchors, aliases, tags and merge keys, which make a
// file hard to read.
func parseDocument(raw []byte) (body ast.Node, faults []fault) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(raw) {
		return nil, []fault{{position{line: invalidLine(raw)}, "is not UTF-8"}}
	}
	var file *ast.File
	err := recovered(func() (err error) {
		file, err = parser.ParseBytes(raw, 0)
		return err
	})
	if err != nil {
		return nil, []fault{libraryFault(err, position{}, "not YAML: ")}
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body == nil:
			body = doc.Body
		default:
			at := positionOf(doc.Body)
			faults = append(faults, fault{at, "a second document; only one is allowed"})
		}
	}
	if body != nil {
		ast.Walk((*featureCheck)(&faults), body)
	}
	return body, faults
}

// invalidLine is the line of the first byte that is not UTF-8.
func invalidLine(raw []byte) int {
	number := 1
	for line := range bytes.Lines(raw) {
		if !utf8.Valid(line) {
			break
		}
		number++
	}
	return number
}

// recovered turns a panic of the YAML library into an error: a broken edit of
// the file must not end the worker.
func recovered(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("it cannot be read")
		}
	}()
	return do()
}

// libraryFault is an error of the YAML library with its position, or with at if
// it has none.
func libraryFault(err error, at position, prefix string) fault {
	message := err.Error()
	if y, ok := errors.AsType[yaml.Error](err); ok {
		message = y.GetMessage()
		if token := y.GetToken(); token != nil {
			at = position{token.Position.Line, token.Position.Column}
		}
	}
	return fault{at, prefix + message}
}

// featureCheck collects the YAML features that a schedule file must not use.
type featureCheck []fault

// Visit implements ast.Visitor.
func (c *featureCheck) Visit(n ast.Node) ast.Visitor {
	var message string
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		message = "anchors and aliases are not supported; a text that begins with & or * needs quotes"
	case *ast.TagNode:
		message = "tags are not supported; a text that begins with ! needs quotes"
	case *ast.MergeKeyNode:
		message = "merge keys are not supported"
	default:
		return c
	}
	*c = append(*c, fault{positionOf(n), message})
	return nil
}

// decode fills the struct that into points to. The library's strict mode reports
// only the first unknown field, accepts fields without a value and ignores names
// that are not strings, so decode checks the names against the struct itself.
func decode(m *ast.MappingNode, into any) (faults []fault) {
	fields := fieldNames(into)
	known := *m
	known.Values = nil
	for _, member := range m.Values {
		name := member.Key.GetToken().Value
		at := positionOf(member.Key)
		switch {
		case member.Key.Type() != ast.StringType || !slices.Contains(fields, name):
			faults = append(faults, fault{at, unknownField(name, fields)})
		case member.Value.Type() == ast.NullType:
			faults = append(faults, fault{at, name + " has no value"})
		default:
			known.Values = append(known.Values, member)
		}
	}
	err := recovered(func() error { return yaml.NodeToValue(&known, into, yaml.Strict()) })
	if err != nil {
		faults = append(faults, libraryFault(err, positionOf(m), "cannot be decoded: "))
	}
	return faults
}

// fieldNames are the fields of the struct that of points to, as the file names
// them.
func fieldNames(of any) []string {
	fields := reflect.VisibleFields(reflect.TypeOf(of).Elem())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Tag.Get("yaml")
	}
	return names
}

// unknownField is the problem of a field that has no meaning here.
func unknownField(name string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return fmt.Sprintf("%s is unknown; did you mean %s?", name, k)
		}
	}
	return fmt.Sprintf("%s is unknown; there are %s", name, strings.Join(known, ", "))
}

// lookup is the member of a mapping with a name, nil if n has none.
func lookup(n ast.Node, name string) *ast.MappingValueNode {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for _, value := range m.Values {
		if value.Key.GetToken().Value == name {
			return value
		}
	}
	return nil
}

// keyPosition is the position of the key that a dotted path names below n, or of
// the nearest key around it; otherwise if there is none.
func keyPosition(n ast.Node, path string, otherwise position) position {
	for segment := range strings.SplitSeq(path, ".") {
		name, _, _ := strings.Cut(segment, "[")
		found := lookup(n, name)
		if found == nil {
			break
		}
		otherwise = positionOf(found.Key)
		n = found.Value
	}
	return otherwise
}

func stringValue(n ast.Node) (value string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}
