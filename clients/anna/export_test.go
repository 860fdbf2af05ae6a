package anna

import "time"

// SetNow replaces the login's clock.
func (l *Login) SetNow(now func() time.Time) { l.now = now }

// SetNow replaces the client's clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// ResolveDate is resolveDate.
var ResolveDate = resolveDate

// TokenLife is tokenLife.
var TokenLife = tokenLife

// AnswerRules returns the answer rules in use, by operation and observation.
func AnswerRules() map[string]*answerRule {
	rules := map[string]*answerRule{
		string(Contradicted): &contradicted,
		string(NotDone):      &notDone,
	}
	for _, op := range []*operation{
		&userHash,
		&userHashForced,
		&userInactivate,
		&messengerStructure,
		&messengerAlerts,
		&messengerRequests,
		&messengerLink,
	} {
		rules[op.name+", "+string(Refused)] = &op.refused
		rules[op.name+", "+string(Unreadable)] = &op.unreadable
		if op != &userInactivate { // which promises no field
			rules[op.name+", "+string(Incomplete)] = &op.incomplete
		}
	}
	return rules
}
