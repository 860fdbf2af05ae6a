package dinero

import (
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// SetNow gives the client another clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// ReadCreated, ReadList, ReadGrant and Judge are the decoders of answers.
func ReadCreated(a *clients.Answer) (Created, error) { return readCreated(a) }

// ReadList returns the ids of one page.
func ReadList(a *clients.Answer) (ids []string, total int, err error) {
	records, p, err := readList(a)
	for _, r := range records {
		ids = append(ids, r.id(contacts))
	}
	return ids, p.Result, err
}

// ReadGrant reads a token answer.
func ReadGrant(a *clients.Answer) (tokens.Grant, error) {
	return clients.OAuth2{
		Caller: clients.NewCaller(Vendor, clients.Limits{}, nil, nil), Op: OpToken, Profile: "dinero-1", Longest: 24 * time.Hour,
	}.Grant(a)
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
