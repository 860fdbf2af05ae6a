package clients

import (
	"encoding/json"
)

// Reply is a vendor's unchanged answer to a free call. It may contain prose and
// personal data, so it belongs in a task's result and not in a log.
type Reply struct {
	// Status is the HTTP status.
	Status int `json:"status"`
	// Body is the vendor's JSON; nil if the answer has no content.
	Body json.RawMessage `json:"body,omitempty"`
}

// Reply returns the answer's status and, if the whole body is valid JSON, the
// body.
func (a *Answer) Reply() Reply {
	reply := Reply{Status: a.Status}
	if body := TrimBOM(a.Body); !a.Incomplete && a.isJSON(body) {
		reply.Body = body
	}
	return reply
}
