package danaconnect

import (
	"slices"

	"errand.internal/clients"
)

// Signal is what the body of an answer says, independent of the status.
type Signal string

// The signals.
const (
	// SignalNone: the body says neither success nor failure, or is no valid JSON.
	SignalNone Signal = "nothing"
	// SignalDone: the body says success. In API 2.0 wsResult.idResult is 0 and
	// there is no wsError; in a contact load status is true.
	SignalDone Signal = "done"
	// SignalFailed: the body says failure. In API 2.0 there is a wsError, or
	// wsResult.idResult is a number other than 0; in a contact load status is false
	// or there is a wsError.
	SignalFailed Signal = "failed"
	// SignalContent: the body is valid JSON that says neither. It is a success of a
	// free call only, whose answer has no documented form.
	SignalContent Signal = "content"
	// SignalEmpty: there is no body where HTTP allows none (status 204, or HEAD).
	// Only a free call has it.
	SignalEmpty Signal = "empty"
)

// AnswerRule gives the meaning of a signal together with a status.
type AnswerRule struct {
	Signal Signal
	// From and To are the first and the last status of the row.
	From, To int
	// Success means that the operation was carried out (a contact load: accepted).
	Success bool
	// ByStatus leaves the meaning to clients.StatusRules.
	ByStatus bool
	// Kind and Message describe the error otherwise.
	Kind    clients.Kind
	Message string
}

// The statuses of HTTP. The body of an answer with any other is not read.
const (
	anyStatus  = 100
	lastStatus = 599
)

// answerRules is the table for the answers of conversations, contact loads and
// free calls; the first matching row counts. A failure beside a 5xx does not say
// how far the vendor got, so the status decides: the operation may have happened. Not
// so beside a 503, which says that the vendor did not start.
var answerRules = []AnswerRule{
	{
		Signal:  SignalDone,
		From:    200,
		To:      299,
		Success: true,
	},
	{
		Signal:  SignalDone,
		From:    anyStatus,
		To:      lastStatus,
		Kind:    clients.Unknown,
		Message: "the body claims success, the status says the opposite",
	},
	{
		Signal:  SignalFailed,
		From:    200,
		To:      299,
		Kind:    clients.Failed,
		Message: "the vendor says that it failed",
	},
	{
		Signal:  SignalFailed,
		From:    503,
		To:      503,
		Kind:    clients.Temporary,
		Message: "the service is unavailable, and the vendor says that it was not done",
	},
	{
		Signal:   SignalFailed,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},
	{
		Signal:  SignalContent,
		From:    200,
		To:      299,
		Success: true,
	},
	{
		Signal:   SignalContent,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},
	{
		Signal:  SignalEmpty,
		From:    200,
		To:      299,
		Success: true,
	},
	{
		Signal:   SignalEmpty,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},
	{
		Signal:  SignalNone,
		From:    200,
		To:      299,
		Kind:    clients.Unknown,
		Message: "the answer cannot be read",
	},
	{
		Signal:   SignalNone,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},
}

// AnswerRules returns a copy of the table, for tests and documentation.
func AnswerRules() []AnswerRule {
	return slices.Clone(answerRules)
}

// Reading is what the body of one answer says.
type Reading struct {
	Signal Signal
	// Code is the vendor's code, if it has one that is safe to show.
	Code string
	// Problem says what is wrong with a body of SignalNone.
	Problem string
}

// Err returns what the answer a, read as r, means for op: nil for success,
// else a *clients.Error.
func (r Reading) Err(op string, a *clients.Answer) error {
	i := slices.IndexFunc(answerRules, func(rule AnswerRule) bool {
		return rule.Signal == r.Signal && rule.From <= a.Status && a.Status <= rule.To
	})
	if i < 0 { // the status is outside of HTTP
		e := clients.StatusError(Vendor, op, a)
		e.Code = r.Code
		e.Unlisted = true
		return e
	}
	rule := answerRules[i]
	switch {
	case rule.Success:
		return nil
	case rule.ByStatus:
		e := clients.StatusError(Vendor, op, a)
		e.Code = r.Code
		return e
	}
	e := &clients.Error{
		Vendor:  Vendor,
		Op:      op,
		Kind:    rule.Kind,
		Message: rule.Message,
		Status:  a.Status,
		Code:    r.Code,
	}
	if rule.Kind == clients.Temporary {
		e.RetryAfter = clients.RetryAfter(a.Header, clients.MaxRetryAfter)
	}
	if r.Problem != "" {
		e.Message += ": " + r.Problem
	}
	return e
}
