// Package strictjson finds what encoding/json changes in silence: of a member that an
// object has twice it keeps the last, and text that is not Unicode it repairs. Two
// different documents then become one.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	w := walk{raw: raw, isText: isText, dec: json.NewDecoder(bytes.NewReader(raw))}
	w.dec.UseNumber()
	w.value("")
	return w.faults
}

// walk reads a document once, so that the time does not depend on its nesting.
type walk struct {
	raw    []byte
	isText func(json.RawMessage) bool
	dec    *json.Decoder
	faults []Fault
}

func (w *walk) fault(path, rule string) {
	w.faults = append(w.faults, Fault{Path: path, Rule: rule})
}

// token returns the next token, and whether it is anything but broken text.
func (w *walk) token() (token json.Token, ok bool) {
	start := w.dec.InputOffset()
	token, err := w.dec.Token()
	if err != nil {
		return nil, true // never for a valid document
	}
	if _, isText := token.(string); !isText {
		return token, true
	}
	return token, w.isText(bytes.TrimLeft(w.raw[start:w.dec.InputOffset()], ",: \t\r\n"))
}

func (w *walk) value(path string) {
	token, ok := w.token()
	switch {
	case !ok:
		w.fault(path, NotText)
	case token == json.Delim('['):
		for i := 0; w.dec.More(); i++ {
			w.value(fmt.Sprintf("%s[%d]", path, i))
		}
		_, _ = w.dec.Token()
	case token == json.Delim('{'):
		w.members(path)
		_, _ = w.dec.Token()
	}
}

func (w *walk) members(path string) {
	seen := map[string]bool{}
	for w.dec.More() {
		token, ok := w.token()
		name, _ := token.(string)
		at := strings.TrimPrefix(path+"."+name, ".")
		switch {
		case !ok:
			at = path
			w.fault(path, NotAName)
		case seen[name]:
			w.fault(at, Twice)
		}
		seen[name] = true
		w.value(at)
	}
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
	dec := json.NewDecoder(bytes.NewReader(object))
	_, _ = dec.Token() // {
	for dec.More() {
		var value json.RawMessage
		token, err := dec.Token()
		name, isName := token.(string)
		if err != nil || !isName || dec.Decode(&value) != nil {
			return members
		}
		members = append(members, Member{Name: name, Value: value})
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
