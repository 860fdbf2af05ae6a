package danaconnect

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"errand.internal/clients"
)

// Answer is what the vendor answered, as it came. It may hold prose and
// personal data, so it belongs into a result and not into a log.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Body is the vendor's JSON; nil if there is none, or none that is whole.
	Body json.RawMessage
}

// answerOf keeps the vendor's JSON beside success and failure alike.
func answerOf(a *clients.Answer) Answer {
	body := bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf")))
	if a.Incomplete || !json.Valid(body) {
		return Answer{Status: a.Status}
	}
	return Answer{Status: a.Status, Body: body}
}

// wsReply is how conversations answer. The fields stay raw, so that one of an
// odd type does not hide the others.
type wsReply struct {
	Result json.RawMessage `json:"wsResult"`
	Error  json.RawMessage `json:"wsError"`
}

// readResult reads an answer that promises a wsResult or a wsError.
func readResult(a *clients.Answer) seen {
	var reply wsReply
	if err := clients.DecodeObject(a, &reply); err != nil {
		return seen{signal: SaysNothing, why: err.Error()}
	}
	var result struct {
		ID json.RawMessage `json:"idResult"`
	}
	var id clients.Text
	if clients.IsSet(reply.Result) && json.Unmarshal(reply.Result, &result) == nil &&
		len(result.ID) > 0 &&
		id.UnmarshalJSON(result.ID) != nil {
		id = ""
	}
	literal := strings.TrimSpace(string(id))
	code := clients.Text(literal).Code()
	digits := strings.TrimPrefix(literal, "-")
	switch {
	case clients.IsSet(reply.Error):
		return seen{signal: SaysFailed, code: code}
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		return seen{
			signal: SaysNothing,
			why:    "it has neither a wsResult.idResult nor a wsError",
		}
	case strings.Trim(digits, "0") == "":
		return seen{signal: SaysDone}
	}
	return seen{signal: SaysFailed, code: code}
}

// readContent reads an answer that promises nothing: a success or a failure
// that it states counts, and so does any other whole JSON.
func readContent(method string, a *clients.Answer) seen {
	body := bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf")))
	switch {
	case a.Incomplete:
	case len(body) == 0 && (a.Status == http.StatusNoContent || method == http.MethodHead):
		return seen{signal: IsEmpty}
	case json.Valid(body) && !bytes.Equal(body, []byte("null")):
		if s := readResult(a); s.signal != SaysNothing {
			return s
		}
		return seen{signal: HasContent}
	}
	var none struct{}
	if err := clients.DecodeObject(a, &none); err != nil {
		return seen{signal: SaysNothing, why: err.Error()}
	}
	return seen{signal: SaysNothing}
}

// readLoad reads an answer that promises a boolean status.
func readLoad(a *clients.Answer) seen {
	var reply struct {
		wsReply
		Status json.RawMessage `json:"status"`
	}
	if err := clients.DecodeObject(a, &reply); err != nil {
		return seen{signal: SaysNothing, why: err.Error()}
	}
	switch {
	case clients.IsSet(reply.Error), string(reply.Status) == "false":
		return seen{signal: SaysFailed}
	case string(reply.Status) == "true":
		return seen{signal: SaysDone}
	}
	return seen{signal: SaysNothing, why: "status is missing or no boolean"}
}
