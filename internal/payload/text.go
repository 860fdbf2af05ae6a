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

// invisible reports whether a character has no width, such as a byte order mark or a
// zero-width space.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r)
}

// joiner reports whether an invisible character belongs to the spelling of names in
// some scripts.
func joiner(r rune) bool {
	return r == '\u200c' || r == '\u200d'
}

// Clean returns a payload with its texts cleaned as their tags say, and the rules that
// they break nevertheless. p itself does not change.
func Clean[T any](p T) (T, []Problem) {
	v := reflect.New(reflect.TypeOf(p)).Elem()
	v.Set(reflect.ValueOf(p))
	var problems []Problem
	cleanValue("", "", v, &problems)
	return v.Interface().(T), problems
}

// cleanValue cleans the texts in v, which are of this kind unless a tag says
// otherwise. What v shares with others, it copies first.
func cleanValue(path string, kind TextKind, v reflect.Value, problems *[]Problem) {
	switch v.Kind() {
	case reflect.String:
		clean, rule := CleanText(kind, v.String())
		v.SetString(clean)
		if rule != "" {
			*problems = append(*problems, Problem{path, rule})
		}
	case reflect.Pointer:
		if !v.IsNil() {
			own := reflect.New(v.Type().Elem())
			own.Elem().Set(v.Elem())
			v.Set(own)
			cleanValue(path, kind, own.Elem(), problems)
		}
	case reflect.Struct:
		cleanStruct(path, v, problems)
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
		for i := range own.Len() {
			cleanValue(fmt.Sprintf("%s[%d]", path, i), kind, own.Index(i), problems)
		}
	case reflect.Map:
		if !v.IsNil() && kind != Free && kind != "" {
			cleanMap(path, kind, v, problems)
		}
	}
}

func cleanStruct(path string, v reflect.Value, problems *[]Problem) {
	for field, value := range v.Fields() {
		if field.Anonymous {
			cleanValue(path, "", value, problems)
		} else if name := jsonName(field); name != "" {
			cleanValue(join(path, name), TextKind(field.Tag.Get("text")), value, problems)
		}
	}
}

// cleanMap cleans the texts of an open object. Its names are not cleaned: two might
// become one.
func cleanMap(path string, kind TextKind, v reflect.Value, problems *[]Problem) {
	own := reflect.MakeMapWithSize(v.Type(), v.Len())
	for name, value := range v.Seq2() {
		at := join(path, name.String())
		if clean, rule := CleanText(ID, name.String()); rule != "" || clean != name.String() {
			*problems = append(*problems, Problem{at, "has a name with blanks, control or invisible characters"})
		}
		if value.Kind() == reflect.Interface {
			value = value.Elem()
		}
		if value.Kind() == reflect.String {
			text := reflect.New(value.Type()).Elem()
			text.Set(value)
			cleanValue(at, kind, text, problems)
			value = text
		}
		if !value.IsValid() { // null
			value = reflect.Zero(v.Type().Elem())
		}
		own.SetMapIndex(name, value)
	}
	v.Set(own)
}
