package anna

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// Client calls AnnA with the fleet's shared token. It is safe for concurrent
// use. Its errors are *clients.Error.
type Client struct {
	endpoint
	source  tokens.Source
	company string
	zone    *time.Location
	already []string // lower case
	now     func() time.Time
}

// New makes a Client. Its error names every variable of cfg that is wrong.
func New(cfg Config, src tokens.Source, caller *clients.Caller) (*Client, error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if src == nil || caller == nil {
		return nil, errors.New("anna: a token source and a caller are needed")
	}
	return &Client{
		endpoint: endpoint{base: checked.base, caller: caller},
		source:   src,
		company:  cfg.CompanyHash.Reveal(),
		zone:     checked.zone,
		already:  checked.already,
		now:      time.Now,
	}, nil
}

// UserHash mints a login for userID, who must be active; an inactive user is
// Declined. startService, which may be empty, is where the chat opens. Every
// call mints another login, so it is no way to ask whether a user is active.
func (c *Client) UserHash(
	ctx context.Context,
	userID, startService string,
) (AccessData, error) {
	if userID == "" {
		return AccessData{}, c.invalid(userHash.op, "no user ID")
	}
	return ask(ctx, c, userHash, hashRequest{
		Hash:         c.company,
		UserID:       userID,
		StartService: startService,
	}, c.accessData)
}

// UserHashForced makes the user, or gives an existing one this name, and mints a
// login. It opens access: one that runs late may bring back a user who has left
// meanwhile, so Unknown must not be retried blindly.
func (c *Client) UserHashForced(
	ctx context.Context,
	userID, userName, startService string,
) (AccessData, error) {
	if userID == "" || userName == "" {
		return AccessData{}, c.invalid(userHashForced.op, "no user ID or no user name")
	}
	return ask(ctx, c, userHashForced, forcedHashRequest{
		Hash:         c.company,
		UserID:       userID,
		UserName:     userName,
		StartService: startService,
	}, c.accessData)
}

// Inactivate closes userID's access. nil means that the vendor confirmed it;
// Temporary with a long RetryAfter that it answered and did not: there is no
// telling a refusal from "already inactive", so it is never Declined.
func (c *Client) Inactivate(ctx context.Context, userID string) error {
	if userID == "" {
		return c.invalid(userInactivate.op, "no user ID")
	}
	_, err := c.exchange(
		ctx,
		userInactivate,
		inactivateRequest{Hash: c.company, UserID: userID},
		c.alreadyInactive,
	)
	return err
}

// AlertCounter counts the open requests that wait for the user's answer. It
// returns no count that the vendor did not state: never a zero for a failure.
// Dates such as today-7d are those of ANNA_TIME_ZONE at the time of the call.
func (c *Client) AlertCounter(ctx context.Context, q AlertQuery) (int, error) {
	body, err := c.alertRequest(messengerAlerts, q)
	if err != nil {
		return 0, err
	}
	return ask(ctx, c, messengerAlerts, body, alertCounter)
}

// Requests lists the user's requests as the vendor has them: a JSON list. Its
// filters are those of AlertCounter.
func (c *Client) Requests(ctx context.Context, q AlertQuery) (json.RawMessage, error) {
	body, err := c.alertRequest(messengerRequests, q)
	if err != nil {
		return nil, err
	}
	return ask(
		ctx,
		c,
		messengerRequests,
		body,
		func(r reply) (json.RawMessage, bool) {
			return begins(r.UserRequests, '[')
		},
	)
}

// Structure returns the company's departments and channels as the vendor has
// them: a JSON object.
func (c *Client) Structure(ctx context.Context) (json.RawMessage, error) {
	return ask(
		ctx,
		c,
		messengerStructure,
		structureRequest{Hash: c.company},
		func(r reply) (json.RawMessage, bool) {
			return begins(r.Structure, '{')
		},
	)
}

// Link returns the address under which the user's requests can be read.
func (c *Client) Link(ctx context.Context, q UserQuery) (Link, error) {
	if !q.names() {
		return Link{}, c.invalid(messengerLink.op, nobody)
	}
	return ask(ctx, c, messengerLink, linkRequest{
		Hash:         c.company,
		UserID:       q.UserID,
		UserDocType:  q.UserDocType,
		UserDocValue: q.UserDocValue,
	}, link)
}

const nobody = "neither a user ID nor a document type and value"

func (c *Client) alertRequest(r rule, q AlertQuery) (alertRequest, error) {
	if !(UserQuery{q.UserID, q.UserDocType, q.UserDocValue}).names() {
		return alertRequest{}, c.invalid(r.op, nobody)
	}
	filters, valid := c.resolve(q.Filters)
	if !valid {
		return alertRequest{}, c.invalid(
			r.op,
			"a filter's date is neither DD/MM/YYYY nor today or today-7d",
		)
	}
	return alertRequest{
		Hash:         c.company,
		UserID:       q.UserID,
		UserDocType:  q.UserDocType,
		UserDocValue: q.UserDocValue,
		Filters:      filters,
	}, nil
}

// resolve turns relative dates into the vendor's form, both as of one moment.
func (c *Client) resolve(f Filters) (Filters, bool) {
	now := c.now().In(c.zone)
	from, fromValid := resolveDate(f.DataIni, now)
	to, toValid := resolveDate(f.DataFim, now)
	f.DataIni, f.DataFim = from, to
	return f, fromValid && toValid
}

// ask makes a call that promises a field; read reports whether the field is
// there and of the right type.
func ask[T any](
	ctx context.Context,
	c *Client,
	r rule,
	body any,
	read func(reply) (T, bool),
) (T, error) {
	var none T
	answer, err := c.exchange(ctx, r, body, nil)
	if err != nil {
		return none, err
	}
	value, ok := read(answer)
	if !ok {
		return none, c.verdictError(r.op, answer.status, r.incomplete)
	}
	return value, nil
}

// accessData reads a minted login. The keys must be there; only Hash must hold
// something. Expires is never a reason to throw the login away.
func (c *Client) accessData(r reply) (AccessData, bool) {
	var raw struct {
		Hash, ChatURL, EmbeddedURL *string
		Expires                    json.RawMessage
	}
	if json.Unmarshal(r.AccessData, &raw) != nil || raw.Hash == nil || *raw.Hash == "" ||
		raw.ChatURL == nil ||
		raw.EmbeddedURL == nil {
		return AccessData{}, false
	}
	access := AccessData{
		Hash:        *raw.Hash,
		ChatURL:     *raw.ChatURL,
		EmbeddedURL: *raw.EmbeddedURL,
		Expires:     looseText(raw.Expires),
	}
	access.ExpiresAt, _ = parseStamp(strings.TrimSpace(access.Expires), c.zone)
	return access, true
}

// alertCounter reads the count: a JSON integer, not negative. Anything else is
// not a count.
func alertCounter(r reply) (int, bool) {
	n, err := strconv.ParseUint(string(r.AlertCounter), 10, strconv.IntSize-1)
	return int(n), err == nil
}

// begins returns a JSON value that begins with sign: an object or a list.
func begins(raw json.RawMessage, sign byte) (json.RawMessage, bool) {
	if len(raw) == 0 || raw[0] != sign {
		return nil, false
	}
	return raw, true
}

// link reads a link: a text that is not empty.
func link(r reply) (Link, bool) {
	var text string
	if json.Unmarshal(r.Link, &text) != nil || text == "" {
		return Link{}, false
	}
	return Link{MessengerLink: text}, true
}

// alreadyInactive reports whether the vendor's text is one of those that the
// operator declared to mean that the user is inactive already.
func (c *Client) alreadyInactive(r reply) bool {
	var message string
	if json.Unmarshal(r.Message, &message) != nil {
		return false
	}
	message = strings.ToLower(message)
	for _, text := range c.already {
		if strings.Contains(message, text) {
			return true
		}
	}
	return false
}

// looseText is the text of a JSON string, or the literal of another scalar; ""
// for null, a missing field, an object or a list.
func looseText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	return string(raw)
}
