package dckap

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Path leads to a value in a JSON document: names of members, and numbers of
// entries in a list.
type Path []string

// ParsePath reads data.items.0.id, which may also be written
// $.data.items[0].id. A name with dots or brackets stands in brackets and
// quotes: data['order.id'].
func ParsePath(text string) (Path, error) {
	rest := strings.TrimSpace(text)
	if rest == "$" || strings.HasPrefix(rest, "$.") || strings.HasPrefix(rest, "$[") {
		rest = strings.TrimPrefix(rest[1:], ".")
	}
	var path Path
	for rest != "" {
		var part string
		var err error
		if rest[0] == '[' {
			part, rest, err = bracketed(rest)
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		if err != nil || part == "" {
			return nil, errors.New("a path must be written as data.items[0].id")
		}
		path = append(path, part)
		if after, dot := strings.CutPrefix(rest, "."); dot {
			if rest = after; rest == "" {
				return nil, errors.New("a path must not end in a dot")
			}
		}
	}
	if len(path) == 0 {
		return nil, errors.New("a path must not be empty")
	}
	return path, nil
}

// bracketed reads ['name'], ["name"] or [0] from the front.
func bracketed(text string) (part, rest string, err error) {
	inner := text[1:]
	if inner != "" && (inner[0] == '\'' || inner[0] == '"') {
		name, after, found := strings.Cut(inner[1:], inner[:1]+"]")
		if !found {
			return "", "", errors.New("no end of a quoted name")
		}
		return name, after, nil
	}
	number, after, found := strings.Cut(inner, "]")
	if !found || strings.Trim(number, "0123456789") != "" {
		return "", "", errors.New("no number in brackets")
	}
	return number, after, nil
}

// Lookup returns the value at the path of a document that was decoded with
// json.Number, and whether there is one. Names count as they are spelt.
func (p Path) Lookup(document any) (value any, found bool) {
	value = document
	for _, part := range p {
		switch inner := value.(type) {
		case map[string]any:
			if value, found = inner[part]; !found {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(inner) {
				return nil, false
			}
			value = inner[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// String writes the path with dots.
func (p Path) String() string {
	return strings.Join(slices.Clone(p), ".")
}
