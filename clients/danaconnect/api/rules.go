package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
)

// The operations, as errors and metrics name them.
const (
	OpStart = "conversation start"
	OpCall  = "api call"
	OpToken = clients.OpToken
)

// Operations are all of them.
var Operations = []string{OpStart, OpCall, OpToken}

// wsReply is the answer of a conversation. The fields stay raw, so that one of an
// unexpected type does not hide the others.
type wsReply struct {
	Result json.RawMessage `json:"wsResult"`
	Error  json.RawMessage `json:"wsError"`
}

// idResult returns wsResult.idResult, "" if there is none. The error is a
// *clients.AmbiguousError.
func (r wsReply) idResult() (string, error) {
	var result struct {
		ID json.RawMessage `json:"idResult"`
	}
	if !clients.IsSet(r.Result) {
		return "", nil
	}
	if err := clients.DecodeMembers(r.Result, &result); err != nil || len(result.ID) == 0 {
		_, ambiguous := errors.AsType[*clients.AmbiguousError](err)
		if !ambiguous {
			err = nil
		}
		return "", err
	}
	var id clients.Text
	if id.UnmarshalJSON(result.ID) != nil {
		return "", nil
	}
	return strings.TrimSpace(string(id)), nil
}

// readResult interprets an answer that promises a wsResult or a wsError.
func readResult(a *clients.Answer) danaconnect.Reading {
	reading, err := readUnambiguous(a)
	if err != nil {
		return danaconnect.Reading{Signal: danaconnect.SignalNone, Problem: err.Error()}
	}
	return reading
}

// readUnambiguous is readResult that returns why the body cannot be read.
func readUnambiguous(a *clients.Answer) (danaconnect.Reading, error) {
	var reply wsReply
	if err := clients.DecodeObject(a, &reply); err != nil {
		return danaconnect.Reading{}, err
	}
	id, err := reply.idResult()
	if err != nil {
		return danaconnect.Reading{}, err
	}
	code := clients.Text(id).Code()
	digits := strings.TrimPrefix(id, "-")
	switch {
	case clients.IsSet(reply.Error):
		return danaconnect.Reading{Signal: danaconnect.SignalFailed, Code: code}, nil
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		return danaconnect.Reading{
			Signal:  danaconnect.SignalNone,
			Problem: "it has neither a wsResult.idResult nor a wsError",
		}, nil
	case strings.Trim(digits, "0") == "":
		return danaconnect.Reading{Signal: danaconnect.SignalDone}, nil
	}
	return danaconnect.Reading{Signal: danaconnect.SignalFailed, Code: code}, nil
}

// readContent interprets the answer of a free call, which promises nothing: a
// success or failure in the form of readResult counts, and so does any other
// valid JSON.
func readContent(method string, a *clients.Answer) danaconnect.Reading {
	_, err := clients.JSONBody(a)
	switch {
	case errors.Is(err, clients.ErrEmptyBody) && (a.Status == http.StatusNoContent || method == http.MethodHead):
		return danaconnect.Reading{Signal: danaconnect.SignalEmpty}
	case err != nil:
		return danaconnect.Reading{Signal: danaconnect.SignalNone, Problem: err.Error()}
	}
	got, err := readUnambiguous(a)
	if _, ambiguous := errors.AsType[*clients.AmbiguousError](err); ambiguous {
		return danaconnect.Reading{Signal: danaconnect.SignalNone, Problem: err.Error()}
	}
	if err == nil && got.Signal != danaconnect.SignalNone {
		return got
	}
	return danaconnect.Reading{Signal: danaconnect.SignalContent}
}

// denied reports whether the token was refused. A 401 whose body claims success
// is not: a replay could carry the operation out twice.
func denied(a *clients.Answer) bool {
	return a.Status == http.StatusUnauthorized && readResult(a).Signal != danaconnect.SignalDone
}
