package danaconnect

import (
	"net/http"
	"slices"

	"errand.internal/clients"
)

// The operations of API 2.0 and of the contact load, as errors and metrics name
// them.
const (
	OpStart = "conversation start"
	OpLoad  = "contacts load"
	OpCall  = "api call"
)

// Signal is what the body of an answer says, whatever the status.
type Signal string

// The signals.
const (
	// SaysNothing: neither success nor failure, or no whole JSON.
	SaysNothing Signal = "nothing"
	// SaysDone: wsResult.idResult is 0, and there is no wsError; of a contact load,
	// status is true.
	SaysDone Signal = "done"
	// SaysFailed: there is a wsError, or wsResult.idResult is a number other than 0;
	// of a contact load, status is false.
	SaysFailed Signal = "failed"
	// HasContent: whole JSON that says neither. Only a free call is content with
	// it; nobody promised what its answer looks like.
	HasContent Signal = "content"
	// IsEmpty: no content where HTTP promises none (status 204, or a HEAD). Only a
	// free call knows it.
	IsEmpty Signal = "empty"
)

// AnswerRule says what a signal means together with a status.
type AnswerRule struct {
	Signal Signal
	// From and To are the first and the last status of the row.
	From, To int
	// Success: the operation was done (a contact load: accepted).
	Success bool
	// ByStatus: what clients.StatusRules says of the status.
	ByStatus bool
	// Kind and Message are for everything else.
	Kind    clients.Kind
	Message string
}

const (
	anyStatus  = 100
	lastStatus = 999
)

// answerRules is the one table for the answers of conversations, contact loads
// and free calls; the first row that fits counts. A failure that the vendor
// states beside a 5xx does not say how far it got, so it is taken by its status:
// it may have happened.
var answerRules = []AnswerRule{
	{
		Signal:  SaysDone,
		From:    200,
		To:      299,
		Success: true,
	},
	{
		Signal:  SaysDone,
		From:    anyStatus,
		To:      lastStatus,
		Kind:    clients.Unknown,
		Message: "the body claims success, the status says the opposite",
	},

	{
		Signal:  SaysFailed,
		From:    200,
		To:      299,
		Kind:    clients.Failed,
		Message: "the vendor says that it failed",
	},
	{
		Signal:   SaysFailed,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},

	{
		Signal:  HasContent,
		From:    200,
		To:      299,
		Success: true,
	},
	{
		Signal:   HasContent,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},

	{
		Signal:  IsEmpty,
		From:    200,
		To:      299,
		Success: true,
	},
	{
		Signal:   IsEmpty,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},

	{
		Signal:  SaysNothing,
		From:    200,
		To:      299,
		Kind:    clients.Unknown,
		Message: "the answer cannot be read",
	},
	{
		Signal:   SaysNothing,
		From:     anyStatus,
		To:       lastStatus,
		ByStatus: true,
	},
}

// AnswerRules returns the table, for tests and documentation.
func AnswerRules() []AnswerRule {
	return slices.Clone(answerRules)
}

// seen is one answer as its body shows it.
type seen struct {
	signal Signal
	code   string // idResult, if it can pass for a code
	why    string // what is wrong with a body that says nothing
}

// judge turns an answer into the operation's outcome; nil means success.
func judge(op string, a *clients.Answer, s seen) error {
	i := slices.IndexFunc(answerRules, func(r AnswerRule) bool {
		return r.Signal == s.signal && r.From <= a.Status && a.Status <= r.To
	})
	if i < 0 { // a status outside of HTTP
		e := clients.StatusError(Vendor, op, a)
		e.Code, e.Unlisted = s.code, true
		return e
	}
	rule := answerRules[i]
	switch {
	case rule.Success:
		return nil
	case rule.ByStatus:
		e := clients.StatusError(Vendor, op, a)
		e.Code = s.code
		return e
	}
	e := &clients.Error{
		Vendor:  Vendor,
		Op:      op,
		Kind:    rule.Kind,
		Message: rule.Message,
		Status:  a.Status,
		Code:    s.code,
	}
	if s.why != "" {
		e.Message += ": " + s.why
	}
	return e
}

// denied: the token was refused. A 401 whose body claims success is none of it;
// a replay could do the thing twice.
func denied(a *clients.Answer) bool {
	return a.Status == http.StatusUnauthorized && readResult(a).signal != SaysDone
}
