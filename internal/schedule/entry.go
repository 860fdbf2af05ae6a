package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// validName restricts names because they are part of Redis keys and metrics.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// entryParser turns one entry of the file into a Schedule.
type entryParser struct {
	reading *reading
	label   string // the schedule's name, once it is known
	names   map[string]position
	node    ast.Node
	at      position
	entry   entry
	faults  []fault
}

// report adds a problem of this entry.
func (p *entryParser) report(at position, format string, args ...any) {
	p.faults = append(p.faults, fault{at, fmt.Sprintf(format, args...)})
}

// parse returns nil if the entry has problems, which it reports.
func (p *entryParser) parse(n ast.Node) *Schedule {
	s := p.schedule(n)
	for _, f := range p.faults {
		p.reading.report(p.reading.path, f.at, p.label+": "+f.text)
	}
	if len(p.faults) > 0 || p.entry.ForEach != nil && s.subjects == nil {
		return nil
	}
	s.digest = digestOf(s)
	return s
}

func (p *entryParser) schedule(n ast.Node) *Schedule {
	p.node = n
	p.at = positionOf(n)
	mapping, ok := n.(*ast.MappingNode)
	if !ok {
		p.report(p.at, "must have fields: %s", strings.Join(fieldNames(&p.entry), ", "))
		return nil
	}
	p.faults = decode(mapping, &p.entry)
	s := &Schedule{}
	p.name(s)
	p.timing(s)
	p.spread(s)
	p.tasks(s)
	return s
}

// digestOf covers what determines the tasks of a tick. Neither the name nor the
// timing does.
func digestOf(s *Schedule) string {
	sum := sha256.New()
	parts := [][]byte{
		[]byte(s.Type),
		[]byte(s.template.path),
		s.template.before,
		s.template.after,
		[]byte(s.Spread.String()),
	}
	for _, part := range parts {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	if s.subjects != nil {
		sum.Write(s.subjects.text)
		_ = json.NewEncoder(sum).Encode(s.subjects.ends) // writing to a hash does not fail
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// valid reports a field that is not a string, and says whether it has a value.
func (p *entryParser) valid(t text, name, expected string) bool {
	if !t.valid && t.at.line > 0 {
		p.report(t.at, "%s must be %s", name, expected)
	}
	return t.valid
}

// required is valid for a field that must be given.
func (p *entryParser) required(t text, name, expected string) bool {
	if lookup(p.node, name) == nil {
		p.report(p.at, "%s is missing", name)
	}
	return p.valid(t, name, expected)
}

func (p *entryParser) name(s *Schedule) {
	name := p.entry.Name
	if !p.required(name, "name", "a text") {
		return
	}
	if !validName.MatchString(name.value) {
		p.report(
			name.at,
			"name must have 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit",
		)
		return
	}
	s.Name = name.value
	p.label = name.value
	if first, used := p.names[s.Name]; used {
		p.report(name.at, "the name is already used in line %d", first.line)
		return
	}
	p.names[s.Name] = name.at
}

func (p *entryParser) timing(s *Schedule) {
	zone := p.zone()
	every := lookup(p.node, "every")
	cron := lookup(p.node, "cron")
	switch {
	case every != nil && cron != nil:
		p.report(positionOf(cron.Key), "every and cron exclude each other")
		return
	case every == nil && cron == nil:
		p.report(p.at, "every or cron is missing")
		return
	}
	var err error
	if every := p.entry.Every; p.valid(every, "every", "a duration such as 30s, 5m or 24h") {
		if s.timing, err = parseEvery(every.value); err != nil {
			p.report(every.at, "every %v", err)
		}
	}
	if cron := p.entry.Cron; p.valid(cron, "cron", "a text of 5 fields, in quotes") {
		if s.timing, err = parseCron(cron.value, zone); err != nil {
			p.report(cron.at, "cron %v", err)
		}
	}
}

func (p *entryParser) zone() *time.Location {
	zone := p.entry.TimeZone
	if !p.valid(zone, "timeZone", "the name of a zone such as America/Sao_Paulo") {
		return time.UTC
	}
	location, err := time.LoadLocation(zone.value)
	if err != nil || zone.value == "" || zone.value == "Local" {
		p.report(zone.at, "timeZone is unknown; it must be the name of a zone such as America/Sao_Paulo")
		return time.UTC
	}
	return location
}

func (p *entryParser) spread(s *Schedule) {
	const expected = "a duration such as 20s"
	spread := p.entry.Spread
	if !p.valid(spread, "spread", expected) {
		return
	}
	d, err := time.ParseDuration(spread.value)
	switch {
	case err != nil:
		p.report(spread.at, "spread must be "+expected)
	case d < 0:
		p.report(spread.at, "spread must not be negative")
	case s.timing.text != "" && d > s.timing.shortest():
		p.report(spread.at, "spread is longer than the time between two ticks, %s", s.timing.shortest())
	}
	s.Spread = d
}

// tasks reads type, payload and forEach, and checks every payload.
func (p *entryParser) tasks(s *Schedule) {
	taskType := p.entry.Type
	if !p.required(taskType, "type", "a task type; `enqueue types` lists them") {
		return
	}
	info, known := p.reading.types.Find(taskType.value)
	if !known {
		p.report(taskType.at, "type is unknown; `enqueue types` lists them")
		return
	}
	s.Type = taskType.value
	doc, ok := p.payload()
	switch {
	case !ok:
	case p.entry.ForEach != nil:
		p.forEach(s, info, doc)
	case p.template(s, info, doc, "", p.at):
		if _, err := s.template.decode(""); err != nil {
			p.reportPayload(err, "", p.at)
		}
	}
}

// payload converts the payload for encoding/json; ok is false if that fails.
func (p *entryParser) payload() (doc map[string]any, ok bool) {
	n := p.entry.Payload
	if n == nil {
		return map[string]any{}, true
	}
	if n.Type() != ast.MappingType {
		p.report(positionOf(n), "payload must be an object")
		return nil, false
	}
	before := len(p.faults)
	doc, ok = p.jsonValue(n).(map[string]any)
	return doc, ok && len(p.faults) == before
}

// jsonValue converts a part of the payload for encoding/json. Unlike the
// library's own conversion it keeps numbers as written, and refuses those that
// YAML reads differently from JSON: 0042 is 34 in YAML.
func (p *entryParser) jsonValue(n ast.Node) any {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		written := n.GetToken().Value
		if !json.Valid([]byte(written)) {
			p.report(
				positionOf(n),
				"payload: a number must be plain decimal; a text that looks like one needs quotes",
			)
		}
		return json.Number(written)
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, element := range n.Values {
			list[i] = p.jsonValue(element)
		}
		return list
	case *ast.MappingNode:
		object := make(map[string]any, len(n.Values))
		for _, member := range n.Values {
			object[member.Key.GetToken().Value] = p.jsonValue(member.Value)
		}
		return object
	}
	value, ok := stringValue(n)
	if !ok {
		p.report(positionOf(n), "payload: no equivalent in JSON")
	}
	return value
}
