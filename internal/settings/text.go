package settings

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isText reports whether a type holds a text, or several.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String
}

// textRule returns the rule of every text and secret that a value breaks: it holds
// nothing that cannot be seen, such as the byte order mark of an editor or the
// zero-width space of a web page. Nobody would find it by reading the value.
//
// A secret may hold tabs and line ends here, because some are lists with an entry
// a line; one that may not has a check of its own.
func (f field) textRule(value string) string {
	if !f.secret && !isText(f.Type) {
		return ""
	}
	if !utf8.ValidString(value) {
		return "must be UTF-8 text"
	}
	position := 0
	for _, r := range value {
		position++
		if unicode.IsPrint(r) || f.secret && strings.ContainsRune("\t\r\n", r) {
			continue
		}
		// The character is named, because it is no part of the secret.
		return fmt.Sprintf("must not hold an invisible character; character %d is %U", position, r)
	}
	return ""
}
