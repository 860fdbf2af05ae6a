package payload

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TextKind says what the text of a field may be: its tag `text`. Blanks around a text
// of any kind but Free are removed, because people paste them; what else cannot be
// right is refused, because a vendor may count it as a try, or take it for somebody
// else.
type TextKind string

// The kinds.
const (
	// ID is an identifier: no blanks, no control and no invisible characters.
	ID TextKind = "id"
	// Number is an identifier of digits, from 1 to 2^63-1.
	Number TextKind = "number"
	// Code is what a person types from a message: ASCII letters and digits.
	Code TextKind = "code"
	// Line is a name or a title: one line, whose only blanks are plain ones.
	Line TextKind = "line"
	// Lines may have several lines.
	Lines TextKind = "lines"
	// Free is the vendor's own content. It is left as it is.
	Free TextKind = "free"
)

// words says what a kind allows, for `enqueue types`.
func (k TextKind) words() string {
	switch k {
	case ID:
		return "no blanks"
	case Number:
		return "digits"
	case Code:
		return "letters and digits"
	}
	return ""
}

// largestNumber is the largest Number.
const largestNumber = "9223372036854775807"

// CleanText returns text without the blanks around it, and the rule that it breaks
// nevertheless, "" if it breaks none.
func CleanText(kind TextKind, text string) (clean, rule string) {
	if kind == Free || kind == "" {
		return text, ""
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		return text, "contains a broken character (U+FFFD)"
	}
	text = strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || invisible(r) })
	return text, kind.rule(text)
}

// rule returns the rule that a trimmed text breaks, "" if it breaks none.
func (k TextKind) rule(text string) string {
	switch k {
	case ID:
		blank := func(r rune) bool { return unicode.IsSpace(r) || unseen(r) }
		return without(text, blank, "must not contain blanks, control or invisible characters")
	case Number:
		return numberRule(text)
	case Code:
		odd := func(r rune) bool { return !isASCIIAlphanumeric(r) }
		return without(text, odd, "must have only the letters A to Z and digits, without blanks")
	case Line:
		odd := func(r rune) bool { return r != ' ' && unicode.IsSpace(r) || unseen(r) && !joiner(r) }
		return without(text, odd, "must be one line, without control or invisible characters")
	case Lines:
		control := func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }
		return without(text, control, "must not contain control characters")
	}
	return fmt.Sprintf("has an unknown kind of text, %q", string(k))
}

// without returns the rule if the text has one of the characters.
func without(text string, characters func(rune) bool, rule string) string {
	if strings.ContainsFunc(text, characters) {
		return rule
	}
	return ""
}

func numberRule(text string) string {
	switch _, err := strconv.ParseInt(text, 10, 64); {
	case text == "":
		return "" // whether it is required is another rule
	case strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }):
		return "must be digits only"
	case text[0] == '0':
		return "must not begin with 0"
	case err != nil:
		return "must be at most " + largestNumber
	}
	return ""
}

func isASCIIAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}

// unseen reports whether nobody can see a character.
func unseen(r rune) bool {
	return unicode.IsControl(r) || invisible(r)
}

// firstInvisible is the first character of the class Cf, the soft hyphen. Most texts have
// none from there on.
const firstInvisible = '\u00ad'

// invisible reports whether a character has no width, such as a byte order mark or a
// zero-width space.
func invisible(r rune) bool {
	return r >= firstInvisible && unicode.Is(unicode.Cf, r)
}

// joiner reports whether an invisible character belongs to the spelling of names in
// some scripts.
func joiner(r rune) bool {
	return r == '\u200c' || r == '\u200d'
}

// cleaner cleans the texts of a payload as their tags say, and notes the rules that they
// break nevertheless.
type cleaner struct {
	pass
	// own: nobody else has what it cleans. What is shared, it copies first.
	own bool
}

// value cleans the texts in v, which are of this kind unless a tag says otherwise.
func (c *cleaner) value(kind TextKind, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		clean, rule := CleanText(kind, v.String())
		v.SetString(clean)
		if rule != "" {
			c.fault(rule)
		}
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if !c.own {
			own := reflect.New(v.Type().Elem())
			own.Elem().Set(v.Elem())
			v.Set(own)
		}
		c.value(kind, v.Elem())
	case reflect.Struct:
		c.object(v)
	case reflect.Slice:
		c.list(kind, v)
	case reflect.Map:
		if !v.IsNil() && kind != Free && kind != "" {
			c.open(kind, v)
		}
	}
}

func (c *cleaner) object(v reflect.Value) {
	for _, f := range shapeOf(v.Type()).fields {
		if f.name == "" {
			c.value("", v.Field(f.index))
			continue
		}
		c.enter(f.name)
		c.value(f.text, v.Field(f.index))
		c.leave()
	}
}

func (c *cleaner) list(kind TextKind, v reflect.Value) {
	if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
		return
	}
	if !c.own {
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
	}
	for i := range v.Len() {
		c.enterEntry(i)
		c.value(kind, v.Index(i))
		c.leave()
	}
}

// open cleans the texts of an open object. Its names are not cleaned: two might become
// one.
func (c *cleaner) open(kind TextKind, v reflect.Value) {
	own := reflect.MakeMapWithSize(v.Type(), v.Len())
	for name, value := range v.Seq2() {
		c.enter(name.String())
		if clean, rule := CleanText(ID, name.String()); rule != "" || clean != name.String() {
			c.fault("has a name with blanks, control or invisible characters")
		}
		if value.Kind() == reflect.Interface {
			value = value.Elem()
		}
		if value.Kind() == reflect.String {
			text := reflect.New(value.Type()).Elem()
			text.Set(value)
			c.value(kind, text)
			value = text
		}
		if !value.IsValid() { // null
			value = reflect.Zero(v.Type().Elem())
		}
		own.SetMapIndex(name, value)
		c.leave()
	}
	v.Set(own)
}
