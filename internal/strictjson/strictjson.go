// Package strictjson finds what encoding/json changes in silence: of a member that an
// object has twice it keeps the last, and text that is not Unicode it repairs. Two
// different documents then become one.
package strictjson

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"
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
	w := walk{
		scanner: scanner{raw: raw},
		isText:  isText,
		path:    make([]step, 0, 8),
	}
	w.value()
	return w.faults
}

// walk reads a document once, so that the time does not depend on its nesting.
type walk struct {
	scanner
	isText func(json.RawMessage) bool
	path   []step // to the value at hand
	faults []Fault
}

// step is one step of a path: a member's name, or the number of an item.
type step struct {
	name []byte
	item int // -1 for a member
}

// fault notes what is wrong with the value at hand. Few documents have a fault, so the
// text of a path is made only then.
func (w *walk) fault(rule string) {
	path := ""
	for _, s := range w.path {
		if s.item >= 0 {
			path += "[" + strconv.Itoa(s.item) + "]"
		} else {
			path = strings.TrimPrefix(path+"."+string(s.name), ".")
		}
	}
	w.faults = append(w.faults, Fault{Path: path, Rule: rule})
}

// below reads the value at the next step of the path.
func (w *walk) below(s step) {
	w.path = append(w.path, s)
	w.value()
	w.path = w.path[:len(w.path)-1]
}

func (w *walk) value() {
	switch w.next() {
	case '"':
		if !w.isText(w.text()) {
			w.fault(NotText)
		}
	case '[':
		for i := range w.open() {
			w.below(step{item: i})
		}
	case '{':
		w.members()
	default:
		w.scalar()
	}
}

func (w *walk) members() {
	var seen names
	for range w.open() {
		raw := w.text()
		if !w.isText(raw) {
			w.fault(NotAName)
			seen.add(unquote(raw))
			w.colon()
			w.value()
			continue
		}
		s := step{name: unquote(raw), item: -1}
		if !seen.add(s.name) {
			w.path = append(w.path, s)
			w.fault(Twice)
			w.path = w.path[:len(w.path)-1]
		}
		w.colon()
		w.below(s)
	}
}

// names are the names of an object's members. Most objects have few.
type names struct {
	few   [fewNames][]byte
	count int // of the few
	many  map[string]bool
}

const fewNames = 16

// add adds a name, and reports whether it is new.
func (n *names) add(name []byte) bool {
	few := n.few[:n.count]
	switch {
	case n.many != nil:
	case slices.ContainsFunc(few, func(earlier []byte) bool { return bytes.Equal(earlier, name) }):
		return false
	case len(few) < fewNames:
		n.few[n.count] = name
		n.count++
		return true
	default:
		n.many = make(map[string]bool, 4*fewNames)
		for _, earlier := range few {
			n.many[string(earlier)] = true
		}
	}
	if n.many[string(name)] {
		return false
	}
	n.many[string(name)] = true
	return true
}

// Members returns the names and the values of the members of a valid JSON object in their
// order, duplicates included. The values are parts of the object, and so is a name without
// escapes.
func Members(object json.RawMessage) iter.Seq2[[]byte, json.RawMessage] {
	return func(yield func([]byte, json.RawMessage) bool) {
		s := scanner{raw: object}
		if s.next() != '{' {
			return
		}
		for range s.open() {
			name := unquote(s.text())
			s.colon()
			if !yield(name, s.skip()) {
				return
			}
		}
	}
}

// Items returns the items of a valid JSON list. They are parts of the list.
func Items(list json.RawMessage) []json.RawMessage {
	s := scanner{raw: list}
	if s.next() != '[' {
		return nil
	}
	var items []json.RawMessage
	for range s.open() {
		items = append(items, s.skip())
	}
	return items
}

// Value returns what a valid JSON text says, as encoding/json decodes it into an empty
// interface with UseNumber, in a fraction of the time.
func Value(raw json.RawMessage) any {
	s := scanner{raw: raw}
	return s.value()
}

// Text returns what a valid JSON string says, as encoding/json decodes it.
func Text(raw json.RawMessage) string {
	return string(unquote(raw))
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

// escaped returns the code unit of the escape at i, a backslash, u and four digits; -1 if
// there is none.
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
