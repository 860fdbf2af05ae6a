package anna

import "time"

// SetNow gives the login another clock.
func (l *Login) SetNow(now func() time.Time) { l.now = now }

// SetNow gives the client another clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }
