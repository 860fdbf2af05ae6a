package httpapi

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"errand.internal/tasks"
)

// payloadSchema describes a payload by the tags that Decode follows. A payload with a
// rule that spans several fields says it in words only.
func payloadSchema(info tasks.Info) *huma.Schema {
	s := schemaOf(reflect.TypeOf(info.Example))
	s.Title = info.Type
	return s
}

// unions are the schemas of the types that name their kind in words (KindName).
var unions = map[string]func() *huma.Schema{
	"number or text": numberOrText,
	"text or number": numberOrText,
	"list of {key, value}, or object": func() *huma.Schema {
		entry := &huma.Schema{
			Type: huma.TypeObject,
			Properties: map[string]*huma.Schema{
				"key":   {Type: huma.TypeString},
				"value": {Type: huma.TypeString},
			},
			Required:             []string{"key", "value"},
			AdditionalProperties: false,
		}
		return &huma.Schema{AnyOf: []*huma.Schema{
			{Type: huma.TypeObject, AdditionalProperties: &huma.Schema{Type: huma.TypeString}},
			{Type: huma.TypeArray, Items: entry},
		}}
	},
}

func numberOrText() *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{
		{Type: huma.TypeString},
		{Type: huma.TypeNumber},
	}}
}

// schemaOf describes a type of a payload.
func schemaOf(t reflect.Type) *huma.Schema {
	if t.Kind() == reflect.Pointer {
		return schemaOf(t.Elem())
	}
	if named, ok := reflect.New(t).Interface().(interface{ KindName() string }); ok {
		return unions[named.KindName()]()
	}
	switch t.Kind() {
	case reflect.String:
		return &huma.Schema{Type: huma.TypeString}
	case reflect.Bool:
		return &huma.Schema{Type: huma.TypeBoolean}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
	case reflect.Slice:
		return &huma.Schema{Type: huma.TypeArray, Items: schemaOf(t.Elem())}
	case reflect.Map:
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: schemaOf(t.Elem())}
	case reflect.Struct:
		s := &huma.Schema{
			Type:                 huma.TypeObject,
			Properties:           map[string]*huma.Schema{},
			AdditionalProperties: false,
		}
		addFields(s, t)
		return s
	}
	return &huma.Schema{} // any JSON
}

// addFields adds the fields of a struct, and those of its embedded structs.
func addFields(s *huma.Schema, t reflect.Type) {
	for f := range t.Fields() {
		if f.Anonymous {
			addFields(s, f.Type)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		field := schemaOf(f.Type)
		field.Description = f.Tag.Get("doc")
		if addRules(field, f.Tag.Get("validate")) {
			s.Required = append(s.Required, name)
		}
		s.Properties[name] = field
	}
}

// addRules adds the rules of a validate tag, and reports whether the field is required.
func addRules(s *huma.Schema, tag string) (required bool) {
	for _, rule := range strings.Split(tag, ",") {
		name, param, _ := strings.Cut(rule, "=")
		switch name {
		case "dive":
			return required // the rules after it apply to the entries
		case "required":
			required = true
			if s.Type == huma.TypeString {
				s.MinLength = new(1)
			}
		case "oneof":
			for _, word := range strings.Fields(param) {
				s.Enum = append(s.Enum, word)
			}
		case "min":
			setBound(s, param, &s.Minimum, &s.MinLength, &s.MinItems)
		case "max":
			setBound(s, param, &s.Maximum, &s.MaxLength, &s.MaxItems)
		}
	}
	return required
}

// setBound sets the bound that fits the type of the field.
func setBound(s *huma.Schema, param string, value **float64, length, items **int) {
	n, err := strconv.Atoi(param)
	if err != nil {
		return
	}
	switch s.Type {
	case huma.TypeInteger:
		*value = new(float64(n))
	case huma.TypeString:
		*length = &n
	case huma.TypeArray:
		*items = &n
	}
}
