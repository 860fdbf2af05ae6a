package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// place is where something stands in the schedule file.
type place struct{ line, column int }

func placeOf(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // a mapping's own token is its first colon
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	at := n.GetToken().Position
	return place{at.Line, at.Column}
}

// member is one entry of a mapping.
type member struct {
	name  string
	key   place
	value ast.Node
}

// members gives the entries of a mapping; ok is false for any other node.
func members(n ast.Node) (found []member, ok bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		return nil, false
	}
	for _, v := range values {
		name := v.Key.GetToken().Value
		if s, isText := v.Key.(*ast.StringNode); isText {
			name = s.Value
		}
		found = append(found, member{
			name:  name,
			key:   placeOf(v.Key),
			value: v.Value,
		})
	}
	return found, true
}

// readYAML parses one document and refuses what makes a file hard to read:
// anchors, aliases, tags and merge keys. body is nil if the file is empty.
func readYAML(raw []byte, fault func(place, string)) (body ast.Node) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(raw) {
		fault(
			place{line: 1 + bytes.Count(raw[:firstInvalid(raw)], []byte("\n"))},
			"is not UTF-8",
		)
		return nil
	}
	file, err := parseYAML(raw)
	if err != nil {
		at, text := place{}, err.Error()
		if y, ok := errors.AsType[yaml.Error](err); ok {
			text = y.GetMessage()
			if token := y.GetToken(); token != nil {
				at = place{token.Position.Line, token.Position.Column}
			}
		}
		fault(at, "not YAML: "+text)
		return nil
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	if len(docs) == 0 {
		return nil
	}
	if len(docs) > 1 {
		fault(placeOf(docs[1]), "a second document; there must be one only")
	}
	refused := refuse(fault)
	ast.Walk(refused, docs[0])
	return docs[0]
}

// parseYAML holds back a panic of the parser: a broken edit must not end the
// worker.
func parseYAML(raw []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("it cannot be read")
		}
	}()
	return parser.ParseBytes(raw, 0)
}

func firstInvalid(raw []byte) int {
	at := 0
	for at < len(raw) {
		r, n := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}

// refuse reports nodes that have no place in a schedule file.
type refuse func(place, string)

// Visit implements ast.Visitor.
func (fault refuse) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		fault(placeOf(n), "anchors and aliases are not supported; a text that begins with & or * needs quotes")
		return nil
	case *ast.TagNode:
		fault(placeOf(n), "tags are not supported; a text that begins with ! needs quotes")
		return nil
	case *ast.MergeKeyNode:
		fault(placeOf(n), "merge keys are not supported")
		return nil
	}
	return fault
}

// text gives the value of a text; ok is false for any other node.
func text(n ast.Node) (value string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// jsonValue turns a node into what encoding/json writes.
func jsonValue(n ast.Node, fault func(place, string)) any {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		written := n.GetToken().Value
		if !json.Valid([]byte(written)) {
			fault(placeOf(n), "a number must be plain decimal; a text that looks like one needs quotes")
			return nil
		}
		return json.Number(written)
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, v := range n.Values {
			list[i] = jsonValue(v, fault)
		}
		return list
	case *ast.MappingNode, *ast.MappingValueNode:
		entries, _ := members(n)
		doc := map[string]any{}
		for _, m := range entries {
			doc[m.name] = jsonValue(m.value, fault)
		}
		return doc
	}
	if s, ok := text(n); ok {
		return s
	}
	fault(placeOf(n), "is no value that JSON knows")
	return nil
}

// find is where a payload's field stands, or the nearest thing around it.
func find(n ast.Node, path string, otherwise place) place {
	if n == nil {
		return otherwise
	}
	for segment := range strings.SplitSeq(path, ".") {
		name, _, _ := strings.Cut(segment, "[")
		entries, _ := members(n)
		i := slices.IndexFunc(entries, func(m member) bool { return m.name == name })
		if i < 0 {
			break
		}
		otherwise, n = entries[i].key, entries[i].value
	}
	return otherwise
}

// unknown words an entry that has no meaning here.
func unknown(name string, known ...string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return fmt.Sprintf("%s is unknown; did you mean %s?", name, k)
		}
	}
	return fmt.Sprintf("%s is unknown; there are %s", name, strings.Join(known, ", "))
}
