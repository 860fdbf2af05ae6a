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

// Pipe is what is known of one dynamic pipe.
type Pipe struct {
	// Success tells a good answer; nil: none can be verified.
	Success *Success
	// Idempotent: running it twice does no harm, so whatever may have happened, or
	// failed, is tried again.
	Idempotent bool
}

// Success is a rule about an answer: at Path stands the value Equals, or, if
// that is nil, anything but null.
type Success struct {
	Path   Path
	Equals *json.RawMessage // a JSON text, number, true or false
}

// maxPipesFile is the most that a pipes file may weigh, in bytes.
const maxPipesFile = 1 << 20

// readPipes reads a pipes file:
//
//	pipes:
//	  - listener: 64f1c0de       # its id, or the URL copied from the pipe
//	    success:
//	      path: data.status      # the answer is good if this …
//	      equals: done           # … is that
//	    idempotent: true
//	  - listener: 64f1c0df
//	    success:
//	      required: data.orderId # the answer is good if this is there
//
// Unknown and repeated fields are errors; each names its line.
func readPipes(file string, base clients.BaseURL) (map[string]Pipe, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, errors.New("cannot be read")
	case info.Size() > maxPipesFile:
		return nil, fmt.Errorf(
			"has %d bytes, at most %d are allowed",
			info.Size(),
			maxPipesFile,
		)
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
		return nil, atLine(err)
	}
	if len(parsed.Docs) > 1 {
		return nil, errors.New("must be one YAML document, without ---")
	}
	var file struct {
		Pipes []entry `yaml:"pipes"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &file, yaml.Strict()); err != nil {
		return nil, atLine(err)
	}
	if len(file.Pipes) == 0 {
		return nil, errors.New("lists no pipes")
	}
	pipes := map[string]Pipe{}
	var faults []error
	for _, e := range file.Pipes {
		id, pipe, err := e.pipe(base)
		if _, twice := pipes[id]; err == nil && twice {
			err = errors.New("the listener stands in the file twice")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", e.line, err))
			continue
		}
		pipes[id] = pipe
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return pipes, nil
}

// atLine puts an error of the parser into one line.
func atLine(err error) error {
	text := yaml.FormatError(err, false, false)
	if typed, ok := errors.AsType[*yaml.TypeError](err); ok && typed.Token != nil {
		return fmt.Errorf("line %d: has the wrong type here", typed.Token.Position.Line)
	}
	position, rest, found := strings.Cut(strings.TrimPrefix(text, "["), "] ")
	line, _, _ := strings.Cut(position, ":")
	if !found || !strings.HasPrefix(text, "[") {
		return errors.New("is not YAML: " + firstLine(text))
	}
	return errors.New("line " + line + ": " + firstLine(rest))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// entry is one pipe of the file.
type entry struct {
	plainEntry
	line int
}

type plainEntry struct {
	Listener scalar `yaml:"listener"`
	Success  *struct {
		Path     *string `yaml:"path"`
		Equals   scalar  `yaml:"equals"`
		Required *string `yaml:"required"`
	} `yaml:"success"`
	Idempotent bool `yaml:"idempotent"`
}

// UnmarshalYAML implements yaml.NodeUnmarshaler, to keep the line.
func (e *entry) UnmarshalYAML(n ast.Node) error {
	e.line = n.GetToken().Position.Line
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		e.line = m.Values[0].Key.GetToken().Position.Line
	}
	return yaml.NodeToValue(n, &e.plainEntry, yaml.Strict())
}

func (e entry) pipe(base clients.BaseURL) (string, Pipe, error) {
	if e.Listener.text == "" {
		return "", Pipe{}, errors.New("listener is missing")
	}
	id, err := listenerID(base, e.Listener.text)
	if err != nil {
		return "", Pipe{}, fmt.Errorf("listener %w", err)
	}
	pipe := Pipe{Idempotent: e.Idempotent}
	rule := e.Success
	if rule == nil {
		return id, pipe, nil
	}
	at := rule.Path
	switch {
	case rule.Required != nil && (rule.Path != nil || rule.Equals.given),
		rule.Required == nil && (rule.Path == nil || !rule.Equals.given):
		return "", Pipe{}, errors.New(
			"success must have path and equals, or required alone",
		)
	case rule.Required != nil:
		at = rule.Required
	case rule.Equals.json == nil:
		return "", Pipe{}, errors.New(
			"equals must be text, a number as JSON writes it, true or false",
		)
	}
	path, err := ParsePath(*at)
	if err != nil {
		return "", Pipe{}, fmt.Errorf("success: %w", err)
	}
	pipe.Success = &Success{Path: path}
	if rule.Equals.given {
		pipe.Success.Equals = &rule.Equals.json
	}
	return id, pipe, nil
}

// scalar is a YAML scalar as it was written: YAML would read the id 0123 as the
// number 83.
type scalar struct {
	given bool
	text  string
	json  json.RawMessage // nil if JSON cannot say it
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (s *scalar) UnmarshalYAML(n ast.Node) error {
	s.given, s.text = true, n.GetToken().Value
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
