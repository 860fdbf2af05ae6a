package dinero

import (
	"time"

	"errand.internal/clients"
)

// SetNow replaces the client's clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// ReadCreated reads the answer to a create.
func ReadCreated(a *clients.Answer) (Created, error) { return readCreated(a) }

// ReadPage returns the ids of one page of contacts.
func ReadPage(a *clients.Answer) (ids []string, total int, err error) {
	records, p, err := readPage(a)
	for _, r := range records {
		ids = append(ids, r.id(contacts))
	}
	return ids, p.Result, err
}

// Interpret reads the answer to a Call.
func Interpret(method string, a *clients.Answer) (clients.Reply, error) {
	_, err := interpret(apiRequest{op: OpCall, method: method}, a)
	return reply(method, a, err)
}

// Table gives access to the table in use.
func Table() *[]Rule { return &rules }
