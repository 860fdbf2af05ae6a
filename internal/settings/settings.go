// Package settings reads the environment into tagged structs. It adds to
// caarlos0/env what operators of Errand rely on: every problem is reported at
// once under the name of its variable, a secret X may stand in the file that
// X_FILE names, and an empty variable counts as unset.
package settings

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Load reads environ into the struct that into points to, structs inside it
// included. The tags are those of caarlos0/env (env, envDefault, envPrefix,
// envSeparator, the options required and notEmpty), and:
//
//   - a field of type secret.String, or tagged secret:"true", is a secret: X may
//     also come from the file that X_FILE names, without the line ends at its
//     end. Both at once is an error;
//   - doc:"…" says what the variable is for; see Describe.
//
// A type with a form of its own implements encoding.TextUnmarshaler. Its error
// is the rule that the operator reads behind the variable's name; that of a
// secret must not quote the value.
//
// The error holds a Problem for every variable at fault, in the order of the
// fields, one line each. Fields with a problem are left as they were. Load
// panics where the struct itself is wrong.
func Load(into any, environ map[string]string) error {
	environ = withoutEmpty(environ)
	var problems []error
	for _, f := range fieldsOf(into) {
		if err := f.load(environ); err != nil {
			problems = append(problems, err)
		}
	}
	return Collect(problems...)
}

// Environ turns os.Environ's form into a map. Of a name that is given twice the
// last counts.
func Environ(pairs []string) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		if name, value, found := strings.Cut(pair, "="); found && name != "" {
			m[name] = value
		}
	}
	return m
}

// withoutEmpty is never nil: nil would make caarlos0/env read the process's
// environment.
func withoutEmpty(environ map[string]string) map[string]string {
	set := make(map[string]string, len(environ))
	for name, value := range environ {
		if value != "" {
			set[name] = value
		}
	}
	return set
}

// load parses one field. caarlos0/env does it on a struct of this one field, so
// that its error can only mean this variable.
func (f field) load(environ map[string]string) error {
	if f.secret {
		value, err := fromFile(f.name, environ)
		if err != nil {
			return err
		}
		if value != "" {
			environ = maps.Clone(environ)
			environ[f.name] = value
		}
	}
	alone := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: f.Name,
		Type: f.Type,
		Tag:  f.Tag,
	}}))
	alone.Elem().Field(0).Set(f.value)
	err := env.ParseWithOptions(
		alone.Interface(),
		env.Options{Environment: environ, Prefix: f.prefix},
	)
	if err != nil {
		return Problem{f.name, f.rule(err, environ[f.name])}
	}
	f.value.Set(alone.Elem().Field(0))
	return nil
}

// rule says in an operator's words what is wrong with the value.
func (f field) rule(err error, value string) string {
	if f.missing(err) {
		if f.secret {
			return "must be set, or " + f.name + fileSuffix + " must name a file that holds it"
		}
		return "must be set"
	}
	parse, ok := errors.AsType[env.ParseError](err)
	if !ok {
		// The tags ask for what env cannot do, which is not the operator's
		// doing.
		panic(fmt.Sprintf("settings: %s: %v", f.name, err))
	}
	rule := ruleOf(f.Type)
	switch {
	case rule == "": // the type's own words
		return parse.Err.Error()
	case f.secret:
		return rule
	default:
		return fmt.Sprintf("%s, not %q", rule, shortened(value))
	}
}

func (f field) missing(err error) bool {
	if _, ok := errors.AsType[env.VarIsNotSetError](err); ok {
		return true
	}
	_, ok := errors.AsType[env.EmptyVarError](err)
	return ok
}

// shortened keeps the line of a misplaced text readable.
func shortened(value string) string {
	const most = 32
	if runes := []rune(value); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return value
}
