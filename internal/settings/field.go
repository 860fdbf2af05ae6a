package settings

import (
	"encoding"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"errand.internal/internal/secret"
)

// field is a struct field that reads a variable.
type field struct {
	reflect.StructField
	value  reflect.Value
	prefix string
	name   string // of the variable, with the prefix
	secret bool
}

// fieldsOf lists the fields that read variables. into must be a pointer to a
// struct. The walk cannot be left to env.GetFieldParams, which skips unexported
// embedded structs and returns neither the field nor its other tags.
func fieldsOf(into any) []field {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("settings: want a pointer to a struct, not a %T", into))
	}
	return walk(nil, v.Elem(), "")
}

func walk(fields []field, v reflect.Value, prefix string) []field {
	t := v.Type()
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("env"), ",")
		isStruct := sf.Type.Kind() == reflect.Struct
		switch {
		case name == "-":
		case name != "" && !sf.IsExported():
			panic(fmt.Sprintf("settings: %s.%s has an env tag and is not exported", t, sf.Name))
		case name != "":
			fields = append(fields, field{
				StructField: sf,
				value:       v.Field(i),
				prefix:      prefix,
				name:        prefix + name,
				secret:      isSecret(sf),
			})
		case isStruct && (sf.IsExported() || sf.Anonymous):
			fields = walk(fields, v.Field(i), prefix+sf.Tag.Get("envPrefix"))
		case sf.Tag.Get("envPrefix") != "":
			panic(fmt.Sprintf("settings: %s.%s has an envPrefix and is not a struct", t, sf.Name))
		}
	}
	return fields
}

func isSecret(sf reflect.StructField) bool {
	return sf.Type == reflect.TypeFor[secret.String]() || sf.Tag.Get("secret") == "true"
}

// describe returns the variable that the field reads. It panics if the field's
// tags are invalid.
func (f field) describe() Variable {
	params, err := env.GetFieldParamsWithOptions(f.single().Interface(), f.options(nil))
	if err != nil {
		panic(fmt.Sprintf("settings: %s: %v", f.name, err))
	}
	return Variable{
		Name:     f.name,
		Default:  params[0].DefaultValue,
		Doc:      f.Tag.Get("doc"),
		Secret:   f.secret,
		Required: params[0].Required || params[0].NotEmpty,
	}
}

// single returns a pointer to a new struct that has only this field, so that an
// error of caarlos0/env can only concern this variable.
func (f field) single() reflect.Value {
	pointer := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: f.Name,
		Type: f.Type,
		Tag:  f.Tag,
	}}))
	pointer.Elem().Field(0).Set(f.value)
	return pointer
}

func (f field) options(environ map[string]string) env.Options {
	return env.Options{Environment: environ, Prefix: f.prefix}
}

// ruleOf returns the rule for values of a type, or "" if the type's own parser
// states it.
func ruleOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "must be a duration such as 500ms, 15s, 2m or 1h"
	case reflect.TypeFor[url.URL]():
		return "must be a URL"
	case reflect.TypeFor[time.Location]():
		return "must be a time zone such as UTC or America/Sao_Paulo"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return ""
	}
	switch t.Kind() {
	case reflect.Bool:
		return "must be true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "must be a whole number in range"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "must be a whole number in range and not negative"
	case reflect.Float32, reflect.Float64:
		return "must be a number"
	case reflect.Slice:
		if rule := ruleOf(t.Elem()); rule != "" {
			return "each entry " + rule
		}
	case reflect.Map:
		return "must be a list of key:value pairs"
	}
	return ""
}
