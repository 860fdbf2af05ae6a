package dckap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"errand.internal/clients"
)

// maxPipesFile is the largest accepted pipes file, in bytes.
const maxPipesFile = 1 << 20

// readPipes reads a pipes file:
//
//	pipes:
//	  - listener: 64f1c0de       # its id, or the URL copied from the pipe
//	    success:
//	      path: data.status      # an answer is a success if this value ...
//	      equals: done           # ... equals this one
//	    idempotent: true
//	  - listener: 64f1c0df
//	    success:
//	      required: data.orderId # an answer is a success if this value is present
//
// Unknown and repeated fields are errors. Each error names its line.
func readPipes(file string, base clients.BaseURL) (map[string]Pipe, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	if info.Size() > maxPipesFile {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", info.Size(), maxPipesFile)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	return parsePipes(raw, base)
}

func parsePipes(raw []byte, base clients.BaseURL) (map[string]Pipe, error) {
	parsed, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil, withLine(err)
	}
	if len(parsed.Docs) > 1 {
		return nil, errors.New("must be one YAML document, without ---")
	}
	var file struct {
		Pipes []entry `yaml:"pipes"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &file, yaml.Strict()); err != nil {
		return nil, withLine(err)
	}
	if len(file.Pipes) == 0 {
		return nil, errors.New("lists no pipes")
	}
	pipes := map[string]Pipe{}
	var problems []error
	for _, e := range file.Pipes {
		id, pipe, err := e.pipe(base)
		if _, duplicate := pipes[id]; err == nil && duplicate {
			err = errors.New("the listener is listed twice")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", e.line, err))
			continue
		}
		pipes[id] = pipe
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return pipes, nil
}

// withLine turns a multi-line error of the YAML parser into "line N: message".
func withLine(err error) error {
	if typed, ok := errors.AsType[*yaml.TypeError](err); ok && typed.Token != nil {
		return fmt.Errorf("line %d: has the wrong type", typed.Token.Position.Line)
	}
	text, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	position, message, found := strings.Cut(strings.TrimPrefix(text, "["), "] ") // "[line:column] message"
	if !found || !strings.HasPrefix(text, "[") {
		return errors.New("is not YAML: " + text)
	}
	line, _, _ := strings.Cut(position, ":")
	return errors.New("line " + line + ": " + message)
}

// entry is one pipe of the file, with its line.
type entry struct {
	entryFields
	line int
}

type entryFields struct {
	Listener scalar `yaml:"listener"`
	Success  *struct {
		Path     *string `yaml:"path"`
		Equals   scalar  `yaml:"equals"`
		Required *string `yaml:"required"`
	} `yaml:"success"`
	Idempotent bool `yaml:"idempotent"`
}

// UnmarshalYAML implements yaml.NodeUnmarshaler. It records the line.
func (e *entry) UnmarshalYAML(n ast.Node) error {
	e.line = n.GetToken().Position.Line
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		e.line = m.Values[0].Key.GetToken().Position.Line
	}
	return yaml.NodeToValue(n, &e.entryFields, yaml.Strict())
}

// pipe returns the listener's id and what the entry says about the pipe.
func (e entry) pipe(base clients.BaseURL) (id string, pipe Pipe, err error) {
	if e.Listener.text == "" {
		return "", Pipe{}, errors.New("listener is missing")
	}
	if id, err = listenerID(base, e.Listener.text); err != nil {
		return "", Pipe{}, fmt.Errorf("listener %w", err)
	}
	success, err := e.rule()
	if err != nil {
		return "", Pipe{}, err
	}
	return id, Pipe{Success: success, Idempotent: e.Idempotent}, nil
}

// rule returns the entry's success rule, nil if it has none.
func (e entry) rule() (*Success, error) {
	if e.Success == nil {
		return nil, nil
	}
	text := e.Success.Path
	required := e.Success.Required
	equals := e.Success.Equals
	switch {
	case required != nil && (text != nil || equals.given),
		required == nil && (text == nil || !equals.given):
		return nil, errors.New("success must have path and equals, or required alone")
	case required != nil:
		text = required
	case equals.json == nil:
		return nil, errors.New("equals must be text, a number as JSON writes it, true or false")
	}
	path, err := ParsePath(*text)
	if err != nil {
		return nil, fmt.Errorf("success: %w", err)
	}
	success := &Success{Path: path}
	if equals.given {
		success.Equals = &equals.json
	}
	return success, nil
}

// scalar is a YAML scalar as it is written: YAML itself would read the id 0123 as
// the number 83.
type scalar struct {
	given bool
	text  string
	json  json.RawMessage // nil if the value has no JSON form
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (s *scalar) UnmarshalYAML(n ast.Node) error {
	s.given = true
	s.text = n.GetToken().Value
	switch n := n.(type) {
	case *ast.StringNode:
		s.text = n.Value
		s.json, _ = json.Marshal(s.text)
	case *ast.LiteralNode:
		s.text = n.Value.Value
		s.json, _ = json.Marshal(s.text)
	case *ast.IntegerNode, *ast.FloatNode:
		if json.Valid([]byte(s.text)) {
			s.json = json.RawMessage(s.text)
		}
	case *ast.BoolNode:
		s.json, _ = json.Marshal(n.Value)
	default:
		s.text = ""
	}
	return nil
}

// maxListenerLength is the length of the longest accepted listener id.
const maxListenerLength = 200

// CheckListener checks a listener as far as that is possible without the
// account's base URL.
func CheckListener(listener string) error {
	if !strings.Contains(listener, "://") {
		return checkID(listener)
	}
	switch {
	case strings.ContainsAny(listener, "?#"):
		return errors.New("must not contain a query or a fragment")
	case strings.ContainsAny(listener, `@\`), !clients.VisibleASCII(listener):
		return errors.New("is not a listener's URL")
	}
	return nil
}

// listenerID returns the id of a listener that is given by its id or by its
// copied URL. The id names the pipe in the pipes file and in profiles.
func listenerID(base clients.BaseURL, listener string) (string, error) {
	if err := CheckListener(listener); err != nil {
		return "", err
	}
	if !strings.Contains(listener, "://") {
		return listener, nil
	}
	path, err := base.RelativeTo(listener)
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(path, "/")
	return id, checkID(id)
}

func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("is empty")
	case len(id) > maxListenerLength:
		return errors.New("is too long")
	case strings.ContainsFunc(id, notInID), strings.Trim(id, ".") == "":
		return errors.New("must be a listener's id (letters, digits, - . _ ~) or its URL")
	}
	return nil
}

// notInID reports whether a listener's id cannot contain r.
func notInID(r rune) bool {
	switch {
	case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z':
		return false
	}
	return !strings.ContainsRune("-._~", r)
}
