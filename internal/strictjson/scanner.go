package strictjson

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"
)

// scanner reads a valid JSON text from front to back, without copying it. The Decoder of
// encoding/json, which checks what it reads once more, takes ten times as long. Of a text
// that is not valid it reads something, but never past the end.
type scanner struct {
	raw []byte
	at  int
}

// next skips blanks and returns the byte that follows; 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.raw); s.at++ {
		switch c := s.raw[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// open enters a list or an object, counts what is in it, and leaves it. Each turn must
// read one of them.
func (s *scanner) open() iter.Seq[int] {
	return func(yield func(int) bool) {
		s.at++
		for i := 0; ; i++ {
			switch s.next() {
			case ']', '}':
				s.at++
				return
			case ',':
				s.at++
				s.next()
			}
			if s.at >= len(s.raw) || !yield(i) {
				return
			}
		}
	}
}

// text reads a text, and returns it with its quotes.
func (s *scanner) text() []byte {
	s.next()
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
	return s.raw[min(start, s.at):]
}

// colon reads what stands between a name and its value.
func (s *scanner) colon() {
	if s.next() == ':' {
		s.at++
	}
}

// scalar reads a number, true, false or null; of what is none of them, one byte.
func (s *scanner) scalar() {
	start := s.at
	for s.at < len(s.raw) {
		switch s.raw[s.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			if s.at == start {
				s.at++
			}
			return
		}
		s.at++
	}
}

// skip reads a whole value, and returns it.
func (s *scanner) skip() json.RawMessage {
	s.next()
	start := s.at
	for depth := 0; s.at < len(s.raw); {
		switch s.next() {
		case '"':
			s.text()
		case '{', '[':
			depth++
			s.at++
			continue
		case '}', ']':
			depth--
			s.at++
		case ',', ':':
			s.at++
			continue
		default:
			s.scalar()
		}
		if depth <= 0 {
			break
		}
	}
	return s.raw[min(start, len(s.raw)):s.at]
}

// value reads a whole value, and returns what it says.
func (s *scanner) value() any {
	switch s.next() {
	case '"':
		return string(unquote(s.text()))
	case '[':
		list := []any{}
		for range s.open() {
			list = append(list, s.value())
		}
		return list
	case '{':
		object := map[string]any{}
		for range s.open() {
			name := string(unquote(s.text()))
			s.colon()
			object[name] = s.value()
		}
		return object
	}
	start := s.at
	s.scalar()
	switch word := string(s.raw[start:s.at]); word {
	case "true", "false":
		return word == "true"
	case "null":
		return nil
	default:
		return json.Number(word)
	}
}

// unquote returns what a text says: a part of the text itself, unless it has escapes.
func unquote(raw []byte) []byte {
	if len(raw) < 2 || bytes.IndexByte(raw, '\\') >= 0 || !utf8.Valid(raw) {
		var text string
		_ = json.Unmarshal(raw, &text) // a valid one can be decoded
		return []byte(text)
	}
	return raw[1 : len(raw)-1]
}
