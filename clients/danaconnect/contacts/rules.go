package contacts

import (
	"encoding/json"
	"net/http"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
)

// OpLoad names the operation in errors and metrics.
const OpLoad = "contacts load"

// read interprets an answer, which promises a boolean status.
func read(a *clients.Answer) danaconnect.Reading {
	var reply struct {
		Error  json.RawMessage `json:"wsError"`
		Status json.RawMessage `json:"status"`
	}
	if err := clients.DecodeObject(a, &reply); err != nil {
		return danaconnect.Reading{Signal: danaconnect.SignalNone, Problem: err.Error()}
	}
	switch {
	case clients.IsSet(reply.Error), string(reply.Status) == "false":
		return danaconnect.Reading{Signal: danaconnect.SignalFailed}
	case string(reply.Status) == "true":
		return danaconnect.Reading{Signal: danaconnect.SignalDone}
	}
	return danaconnect.Reading{
		Signal:  danaconnect.SignalNone,
		Problem: "status is missing or no boolean",
	}
}

// loginVerdict returns what an answer proves about user and password. A failure
// proves nothing: the vendor may report it before it checks the login.
func loginVerdict(status int, signal danaconnect.Signal) admission.Verdict {
	switch {
	case status == http.StatusUnauthorized:
		return admission.Refused
	case signal == danaconnect.SignalDone && status >= 200 && status <= 299:
		return admission.Accepted
	}
	return admission.Inconclusive
}
