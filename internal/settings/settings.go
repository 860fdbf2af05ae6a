// Package settings reads the environment into tagged structs. On top of
// caarlos0/env, it reports every problem at once with the name of its variable,
// reads a secret X from the file that X_FILE names, and treats an empty variable
// as unset.
package settings

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Load reads environ into the struct that into points to, including nested
// structs. It follows the tags of caarlos0/env (env, envDefault, envPrefix,
// envSeparator, the options required and notEmpty) and two more:
//
//   - A field of type secret.String, or tagged secret:"true", is a secret. X may
//     then come from the file that X_FILE names, without its trailing line ends.
//     Setting both is an error.
//   - doc:"…" says what the variable is for; see Describe.
//
// A text or a secret must be UTF-8 without invisible characters.
//
// A type that needs its own parser implements encoding.TextUnmarshaler. Its error
// states the rule that the operator reads after the variable's name; the error of
// a secret must not quote the value.
//
// The returned error holds a Problem for every variable at fault, in the order of
// the fields, one line each. Fields with a problem keep their value. Load panics
// if the struct itself is invalid.
func Load(into any, environ map[string]string) error {
	environ = withoutEmpty(environ)
	var errs []error
	for _, f := range fieldsOf(into) {
		if err := f.load(environ); err != nil {
			errs = append(errs, err)
		}
	}
	return Collect(errs...)
}

// Environ converts the result of os.Environ to a map. If a name occurs twice, the
// last one wins.
func Environ(pairs []string) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		if name, value, found := strings.Cut(pair, "="); found && name != "" {
			m[name] = value
		}
	}
	return m
}

// withoutEmpty drops empty variables. Its result is never nil, because nil makes
// caarlos0/env read the environment of the process.
func withoutEmpty(environ map[string]string) map[string]string {
	set := make(map[string]string, len(environ))
	for name, value := range environ {
		if value != "" {
			set[name] = value
		}
	}
	return set
}

// load parses the variable into its field.
func (f field) load(environ map[string]string) error {
	source := f.name
	if f.secret {
		value, err := fromFile(f.name, environ)
		if err != nil {
			return err
		}
		if value != "" {
			environ = maps.Clone(environ)
			environ[f.name] = value
			source += fileSuffix
		}
	}
	if rule := f.textRule(environ[f.name]); rule != "" {
		return Problem{source, rule}
	}
	single := f.single()
	if err := env.ParseWithOptions(single.Interface(), f.options(environ)); err != nil {
		return Problem{f.name, f.rule(err, environ[f.name])}
	}
	f.value.Set(single.Elem().Field(0))
	return nil
}

// rule returns the broken rule in words for the operator.
func (f field) rule(err error, value string) string {
	if f.missing(err) {
		if f.secret {
			return "must be set, or " + f.name + fileSuffix + " must name a file that holds it"
		}
		return "must be set"
	}
	parse, ok := errors.AsType[env.ParseError](err)
	if !ok {
		// The tags are invalid, which no setting can fix.
		panic(fmt.Sprintf("settings: %s: %v", f.name, err))
	}
	rule := ruleOf(f.Type)
	switch {
	case rule == "": // the type states its own rule
		return parse.Err.Error()
	case f.secret:
		return rule
	default:
		return fmt.Sprintf("%s, not %q", rule, truncated(value))
	}
}

func (f field) missing(err error) bool {
	if _, ok := errors.AsType[env.VarIsNotSetError](err); ok {
		return true
	}
	_, ok := errors.AsType[env.EmptyVarError](err)
	return ok
}

// truncated shortens a long value, so that the error stays readable.
func truncated(value string) string {
	const maxRunes = 32
	if runes := []rune(value); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "…"
	}
	return value
}
