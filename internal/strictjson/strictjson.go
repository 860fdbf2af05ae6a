// Package strictjson finds what encoding/json changes in silence: of a member that an
// object has twice it keeps the last, and text that is not Unicode it repairs. Two
// different documents then become one.
package strictjson

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Fault is a place of a document that cannot be carried unchanged.
type Fault struct {
	// Path is such as lines[0].price.
	Path string
	// Rule says what is wrong there; it quotes nothing.
	Rule string
}

// The rules.
const (
	Twice    = "is given twice"
	NotText  = "is not valid Unicode text"
	NotAName = "has a member whose name is not valid Unicode text"
)

// Faults returns the places of a valid JSON text that encoding/json would change.
func Faults(raw []byte) []Fault {
	return faults(raw, IsText)
}

// EncodedFaults is Faults for what encoding/json has encoded: it has replaced what is
// no text by the escape of U+FFFD, and writes the character itself without one.
func EncodedFaults(raw []byte) []Fault {
	return faults(raw, func(text json.RawMessage) bool {
		return IsText(text) && !hasEscape(text, utf8.RuneError)
	})
}

func faults(raw []byte, isText func(json.RawMessage) bool) []Fault {
	s := scan{raw: raw, isText: isText}
	s.value()
	return s.faults
}

// scan reads a document once, so that the time does not depend on its nesting, and
// decodes nothing of it but names with escapes: most documents have no fault. Of a text
// that is not valid JSON it reads what it can.
type scan struct {
	raw    []byte
	at     int
	isText func(json.RawMessage) bool
	path   []step // to the value that is read
	faults []Fault
}

// step is one step of a path: into a member or, if that has no name, an item.
type step struct {
	name  []byte
	index int
}

func (s *scan) fault(rule string) {
	path := ""
	for _, step := range s.path {
		switch {
		case step.name == nil:
			path += "[" + strconv.Itoa(step.index) + "]"
		case path == "":
			path = string(step.name)
		default:
			path += "." + string(step.name)
		}
	}
	s.faults = append(s.faults, Fault{Path: path, Rule: rule})
}

func (s *scan) value() {
	switch s.skipBlanks(); s.char() {
	case '"':
		if !s.isText(s.text()) {
			s.fault(NotText)
		}
	case '[':
		s.items()
	case '{':
		s.members()
	default:
		s.scalar()
	}
}

func (s *scan) items() {
	s.at++ // [
	s.path = append(s.path, step{})
	for i := 0; s.more(']'); i++ {
		s.path[len(s.path)-1].index = i
		s.value()
	}
	s.path = s.path[:len(s.path)-1]
}

func (s *scan) members() {
	var seen names
	s.at++ // {
	for s.more('}') {
		raw := s.text()
		name := decoded(raw)
		twice := seen.add(name)
		depth := len(s.path)
		switch {
		case !s.isText(raw):
			s.fault(NotAName)
		case twice:
			s.path = append(s.path, step{name: name})
			s.fault(Twice)
		default:
			s.path = append(s.path, step{name: name})
		}
		s.colon()
		s.value()
		s.path = s.path[:depth]
	}
}

// char is the next character, 0 at the end.
func (s *scan) char() byte {
	if s.at < len(s.raw) {
		return s.raw[s.at]
	}
	return 0
}

func (s *scan) skipBlanks() {
	for s.at < len(s.raw) && isBlank(s.raw[s.at]) {
		s.at++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// more goes to the next item or member, and reports whether there is one before the end
// of the list or object.
func (s *scan) more(end byte) bool {
	for s.skipBlanks(); s.char() == ','; s.skipBlanks() {
		s.at++
	}
	switch s.char() {
	case end:
		s.at++
		return false
	case '"':
		return true
	case 0, ']', '}', ':':
		s.at = len(s.raw) // not JSON
		return false
	}
	if end == '}' {
		s.at = len(s.raw) // a member without a name is not JSON
	}
	return end == ']'
}

func (s *scan) colon() {
	if s.skipBlanks(); s.char() == ':' {
		s.at++
	}
}

// text reads a text, and returns it with its quotes.
func (s *scan) text() json.RawMessage {
	start := s.at
	for s.at++; s.at < len(s.raw); s.at++ {
		switch s.raw[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return s.raw[start:s.at]
		}
	}
	s.at = len(s.raw)
	return s.raw[start:]
}

// scalar reads a number, true, false or null.
func (s *scan) scalar() {
	for s.at < len(s.raw) && !isBlank(s.raw[s.at]) && !bytes.Contains([]byte(`,]}:`), s.raw[s.at:s.at+1]) {
		s.at++
	}
}

// skip reads a value, and returns it.
func (s *scan) skip() json.RawMessage {
	s.skipBlanks()
	start := s.at
	for depth := 0; s.at < len(s.raw); {
		switch s.raw[s.at] {
		case '"':
			s.text()
		case '[', '{':
			depth++
			s.at++
		case ']', '}':
			depth--
			s.at++
		case ',', ':', ' ', '\t', '\r', '\n':
			s.at++
			continue
		default:
			s.scalar()
		}
		if depth <= 0 {
			break
		}
	}
	return s.raw[start:s.at]
}

// decoded returns a name without its quotes and escapes.
func decoded(raw json.RawMessage) []byte {
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) && len(raw) > 1 {
		return raw[1 : len(raw)-1]
	}
	return unescaped(raw)
}

func unescaped(raw json.RawMessage) []byte {
	var name string
	_ = json.Unmarshal(raw, &name) // it is a text
	return []byte(name)
}

// names are the names of an object. While they are few, they are compared one by one.
type names struct {
	few  [16][]byte
	n    int
	many map[string]bool
}

// add adds a name, and reports whether it is there already.
func (n *names) add(name []byte) (twice bool) {
	for _, other := range n.few[:n.n] {
		if bytes.Equal(other, name) {
			return true
		}
	}
	if n.n < len(n.few) {
		n.few[n.n] = name
		n.n++
		return false
	}
	if n.many == nil {
		n.many = map[string]bool{}
	}
	twice = n.many[string(name)]
	n.many[string(name)] = true
	return twice
}

// Member is one member of an object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members returns the members of a valid JSON object in their order, duplicates
// included.
func Members(object json.RawMessage) []Member {
	var members []Member
	s := scan{raw: object}
	s.skipBlanks()
	if s.char() != '{' {
		return nil
	}
	s.at++
	for s.more('}') {
		name := decoded(s.text())
		s.colon()
		members = append(members, Member{Name: string(name), Value: s.skip()})
	}
	return members
}

// Items returns the items of a valid JSON list.
func Items(list json.RawMessage) []json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		return nil
	}
	return items
}

// IsText reports whether a valid JSON string holds Unicode text: UTF-8 without half
// of a surrogate pair. encoding/json replaces anything else by U+FFFD.
func IsText(raw json.RawMessage) bool {
	if !utf8.Valid(raw) {
		return false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return true
	}
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; raw[i] != 'u' {
			continue
		}
		switch unit := escaped(raw, i-1); {
		case unit >= 0xdc00 && unit <= 0xdfff:
			return false
		case unit >= 0xd800 && unit <= 0xdbff:
			if low := escaped(raw, i+5); low < 0xdc00 || low > 0xdfff {
				return false
			}
			i += 6
		}
	}
	return true
}

// hasEscape reports whether a JSON string has the escape of a code unit.
func hasEscape(raw json.RawMessage, unit int64) bool {
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] != '\\':
		case escaped(raw, i) == unit:
			return true
		default:
			i++ // what is escaped may be a backslash
		}
	}
	return false
}

// escaped returns the code unit of the escape \uXXXX at i, -1 if there is none.
func escaped(raw json.RawMessage, i int) int64 {
	if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseInt(string(raw[i+2:i+6]), 16, 32)
	if err != nil {
		return -1
	}
	return unit
}
