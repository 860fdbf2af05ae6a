package dinero

import (
	"time"

	"errand.internal/clients"
)

// SetNow gives the client another clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// ReadCreated, ReadList and Judge are the decoders of answers.
func ReadCreated(a *clients.Answer) (Created, error) { return readCreated(a) }

// ReadList returns the ids of one page.
func ReadList(a *clients.Answer) (ids []string, total int, err error) {
	records, p, err := readList(a)
	for _, r := range records {
		ids = append(ids, r.id(contacts))
	}
	return ids, p.Result, err
}

// Judge reads an answer to a call.
func Judge(method string, a *clients.Answer) (Answer, error) {
	_, err := judge(outgoing{op: OpCall, method: method}, a)
	answer, why := answerOf(method, a)
	if err == nil && why != "" && a.Status <= 299 {
		err = clients.UnreadableError(Vendor, OpCall, a, why)
	}
	return answer, err
}

// Table is the rules in use.
func Table() *[]Rule { return &rules }
