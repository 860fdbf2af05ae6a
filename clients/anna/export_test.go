package anna

import "time"

// SetNow gives the login another clock.
func (l *Login) SetNow(now func() time.Time) { l.now = now }

// SetNow gives the client another clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// Cells are the verdicts of the table in use, by operation and observation.
func Cells() map[string]*verdict {
	cells := map[string]*verdict{string(Contradicted): &contradicted}
	for _, r := range []*rule{&userHash, &userHashForced, &userInactivate, &messengerStructure, &messengerAlerts, &messengerRequests, &messengerLink} {
		cells[r.op+", "+string(Refused)], cells[r.op+", "+string(Unreadable)] = &r.refused, &r.unreadable
		if r != &userInactivate { // which promises nothing that could be missing
			cells[r.op+", "+string(Incomplete)] = &r.incomplete
		}
	}
	return cells
}
