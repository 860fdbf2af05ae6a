package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"errand.internal/internal/strictjson"
)

// Set puts one value given as text (--set path=value) into doc, the JSON object of a
// payload of p's type. header is that of a Column, and the value has its type. One that
// Decode will refuse, with all others, is put as text.
func Set(p any, doc map[string]any, header, value string) error {
	c, err := NewColumn(p, header)
	if err != nil && !errors.Is(err, ErrNoField) {
		return fmt.Errorf("%s: %w", header, err)
	}
	v, err := c.value(value)
	if err != nil {
		return err
	}
	if err := c.Put(doc, v); err != nil {
		return fmt.Errorf("%s: %w", c.Path(), err)
	}
	return nil
}

func parseJSON(value string) (parsed any, ok bool) {
	if !json.Valid([]byte(value)) {
		return nil, false
	}
	return strictjson.Value([]byte(value)), true
}

// form is how a cell becomes a JSON value.
type form string

const (
	asText   form = "text"
	asNumber form = "number"
	asBool   form = "bool"
	asJSON   form = "json"
)

var forms = []form{asText, asNumber, asBool, asJSON}

// Column is a column of a table whose cells set one field. All of them have one type,
// whatever a single cell looks like: a ZIP code is not a number because it has only
// digits.
type Column struct {
	steps []step
	form  form
	rule  string // of a cell that does not have the form
	open  bool   // the payload does not fix the type, so that Decode will not refuse it
}

// ErrNoField says that the header of a Column names no field.
var ErrNoField = errors.New("is not a field")

// NewColumn returns the column with this header, path or path:type, of payloads of
// p's type. The type is text, number, bool or json; without one, it is the field's
// own, and text in a free body. The column beside ErrNoField has the path, and text.
func NewColumn(p any, header string) (Column, error) {
	path, suffix, typed := strings.Cut(header, ":")
	steps, err := parsePath(path)
	if err != nil {
		return Column{}, err
	}
	at, known := find(p, steps)
	if !known {
		return Column{steps: steps, form: asText}, ErrNoField
	}
	c := Column{steps: steps, open: at.open}
	c.form, c.rule = at.form()
	if !typed {
		return c, nil
	}
	given := form(suffix)
	switch {
	case !slices.Contains(forms, given):
		return Column{}, errors.New("has an unknown type; it must be text, number, bool or json")
	case given != c.form && !at.open:
		return Column{}, errors.New("has another type than the field, " + kindName(at.t))
	case given != c.form:
		c.form, c.rule = given, formRules[given]
	}
	return c, nil
}

// formRules are the rules of cells in a free body.
var formRules = map[form]string{
	asNumber: "must be a number, such as 1.5",
	asBool:   "must be true or false",
	asJSON:   "must be JSON",
}

// form is how cells become values of the place, and the rule that they follow.
func (p place) form() (form, string) {
	if p.t == nil {
		return asText, ""
	}
	switch t := deref(p.t); t.Kind() {
	case reflect.String:
		return asText, ""
	case reflect.Int, reflect.Int32, reflect.Int64:
		return asNumber, "must be " + article(kindName(t))
	case reflect.Bool:
		return asBool, formRules[asBool]
	}
	return asJSON, formRules[asJSON]
}

// Path is the path of the column's field.
func (c Column) Path() string {
	return formatPath(c.steps)
}

// Within reports whether the column sets the same field as another, or a part of it.
func (c Column) Within(other Column) bool {
	return len(c.steps) >= len(other.steps) && slices.Equal(c.steps[:len(other.steps)], other.steps)
}

// Compare orders columns so that the entries of a list follow one another.
func (c Column) Compare(other Column) int {
	return slices.CompareFunc(c.steps, other.steps, func(a, b step) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return a.index - b.index
	})
}

// Set puts a cell into doc. An empty cell leaves its field out. The error does not
// quote the cell.
func (c Column) Set(doc map[string]any, cell string) error {
	if cell == "" || c.form != asText && strings.TrimSpace(cell) == "" {
		return nil
	}
	value, ok := c.form.value(cell)
	if !ok {
		return errors.New(c.Path() + " " + c.rule)
	}
	return c.Put(doc, value)
}

// Put puts any value into doc, whatever the column's type.
func (c Column) Put(doc map[string]any, value any) error {
	_, err := assign(doc, nil, c.steps, value)
	return err
}

// JSON returns a text as a value of the column. One that Decode will refuse stays a
// text. The error does not quote it.
func (c Column) JSON(text string) ([]byte, error) {
	value, err := c.value(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// value is JSON before its encoding.
func (c Column) value(text string) (any, error) {
	value, ok := c.form.value(text)
	switch {
	case ok:
		return value, nil
	case c.open:
		return nil, errors.New(c.Path() + " " + c.rule)
	}
	return text, nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (f form) value(cell string) (value any, ok bool) {
	if f == asText {
		return cell, true
	}
	cell = strings.TrimSpace(cell)
	switch f {
	case asNumber:
		return json.Number(cell), jsonNumber.MatchString(cell)
	case asBool: // spreadsheets write TRUE
		return strings.EqualFold(cell, "true"), strings.EqualFold(cell, "true") || strings.EqualFold(cell, "false")
	}
	return parseJSON(cell)
}
