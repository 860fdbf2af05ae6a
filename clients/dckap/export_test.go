package dckap

import (
	"errors"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// Judge reads an answer by a rule that wants data.id.
func Judge(a *clients.Answer) (Answer, BodyClass, bool) {
	body, sight, _ := look(a, &Success{Path: Path{"data", "id"}})
	rule, listed := findRule(a.Status, sight)
	done := listed && rule.Done
	return Answer{Status: a.Status, Body: body, Verified: done && sight == RuleMet}, sight, done
}

// ParsePipes reads a pipes file for the default base URL.
func ParsePipes(raw []byte) (map[string]Pipe, error) {
	checked, err := Config{Token: secret.New("t")}.check()
	if err != nil {
		return nil, errors.Join(errors.New("the test is wrong"), err)
	}
	return parsePipes(raw, checked.base)
}

// Table is the rules in use.
func Table() *[]Rule { return &rules }
