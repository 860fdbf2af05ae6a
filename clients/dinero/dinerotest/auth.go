package dinerotest

import (
	"crypto/rand"
	"crypto/subtle"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"errand.internal/clients/sandbox"
)

// token is the token endpoint. It accepts the password grant of the vendor's page,
// with exactly its four fields.
func (s *Sandbox) token(c *sandbox.Call) sandbox.Answer {
	if c.Method != http.MethodPost {
		return sandbox.Answer{Status: http.StatusMethodNotAllowed}
	}
	organization, refusal := s.authenticate(c)
	if refusal != "" {
		return sandbox.JSON(http.StatusBadRequest, map[string]string{"error": refusal})
	}
	token := "token-" + organization + "-" + strings.ToLower(rand.Text())
	s.PutToken(token, organization)
	c.Effect(organization)
	return sandbox.JSON(http.StatusOK, map[string]any{
		"access_token":  token,
		"token_type":    "Bearer",
		"expires_in":    int(s.opts.TokenLife / time.Second),
		"refresh_token": nil,
	})
}

// authenticate returns the organization that a token request is for, or the OAuth
// error that refuses it.
func (s *Sandbox) authenticate(c *sandbox.Call) (organization, refusal string) {
	id, secret, ok := (&http.Request{Header: c.Header}).BasicAuth()
	s.mu.Lock()
	wanted := s.opts.ClientSecret
	keys := s.opts.APIKeys
	s.mu.Unlock()
	if !ok || !equal(id, s.opts.ClientID) || !equal(secret, wanted) {
		return "", "invalid_client"
	}
	form, ok := readForm(c)
	switch {
	case !ok || len(form) != 4:
		return "", "invalid_request"
	case form.Get("grant_type") != "password":
		return "", "unsupported_grant_type"
	case form.Get("scope") != "read write":
		return "", "invalid_scope"
	}
	for organization, key := range keys {
		if equal(form.Get("username"), key) && equal(form.Get("password"), key) {
			return organization, ""
		}
	}
	return "", "invalid_grant"
}

// readForm reads a form in which each field has one value.
func readForm(c *sandbox.Call) (url.Values, bool) {
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, false
	}
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return nil, false
	}
	for _, values := range form {
		if len(values) != 1 {
			return nil, false
		}
	}
	return form, true
}

// operation handles one authorized call of an organization. The sandbox is locked.
type operation func(c *sandbox.Call, o *organization) sandbox.Answer

// authorized checks version, token, organization, quota and subscription, in the
// vendor's order as far as it is known.
func (s *Sandbox) authorized(run operation) sandbox.Operation {
	return func(c *sandbox.Call) sandbox.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.Fault.ExpireToken {
			clear(s.tokens)
		}
		now := s.opts.Now()
		token, isBearer := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
		owner, known := s.tokens[token]
		id := c.Params["organization"]
		organization := s.organizations[id]
		switch {
		case c.Params["version"] != "v1" && c.Params["version"] != "v2":
			return failure(http.StatusNotFound, "40", "No such address")
		case !isBearer || !known || !now.Before(owner.until):
			return sandbox.Answer{Status: http.StatusUnauthorized}
		case organization == nil || owner.organization != id:
			return failure(http.StatusForbidden, "41", "No access to the organization")
		}
		if answer, beyond := s.beyondQuota(id, organization, now); beyond {
			return answer
		}
		if organization.noSubscription {
			return failure(http.StatusForbidden, "90", "The organization has no active Pro subscription")
		}
		return run(c, organization)
	}
}

// beyondQuota counts a call. If it is one more than the quota allows, it returns the answer.
func (s *Sandbox) beyondQuota(id string, o *organization, now time.Time) (sandbox.Answer, bool) {
	quota, own := s.opts.Quotas[id]
	if !own {
		quota = s.opts.Quota
	}
	if quota == 0 {
		return sandbox.Answer{}, false
	}
	o.calls = slices.DeleteFunc(o.calls, func(at time.Time) bool {
		return now.Sub(at) >= s.opts.QuotaWindow
	})
	if len(o.calls) < quota {
		o.calls = append(o.calls, now)
		return sandbox.Answer{}, false
	}
	o.exceeded++
	answer := quotaExceeded()
	if s.opts.QuotaRetryAfter {
		again := o.calls[0].Add(s.opts.QuotaWindow).Sub(now)
		answer.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(again.Seconds()))))
	}
	return answer, true
}

// quotaExceeded is plain text, as on the vendor's page.
func quotaExceeded() sandbox.Answer {
	return sandbox.Answer{
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Content-Type": {"text/plain"}},
		Body:   []byte("API calls quota exceeded! maximum admitted 100 per Minute."),
	}
}

// failure is the vendor's error body.
func failure(status int, code, message string) sandbox.Answer {
	number, _ := strconv.Atoi(code)
	return sandbox.JSON(status, map[string]any{
		"code":                     number,
		"message":                  message,
		"validationErrors":         map[string]string{},
		"languageSpecificMessages": []any{},
	})
}

// recode returns the vendor's error for a code. A status that has no code is given
// as its own number.
func (s *Sandbox) recode(_ *sandbox.Call, code string, _ *sandbox.Answer) sandbox.Answer {
	status := http.StatusBadRequest
	switch code {
	case "40":
		status = http.StatusNotFound
	case "41", "48", "90":
		status = http.StatusForbidden
	case "429":
		return quotaExceeded()
	case "480":
		return sandbox.Answer{Status: 480}
	}
	return failure(status, code, "requested by the test")
}

func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
