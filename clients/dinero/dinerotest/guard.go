package dinerotest

import (
	"crypto/rand"
	"crypto/subtle"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"errand.internal/clients/sandbox"
)

// token is the password grant of the vendor's page: exactly its four fields.
func (s *Sandbox) token(c *sandbox.Call) sandbox.Answer {
	if c.Method != http.MethodPost {
		return sandbox.Answer{Status: http.StatusMethodNotAllowed}
	}
	refuse := func(code string) sandbox.Answer {
		return sandbox.JSON(http.StatusBadRequest, map[string]string{"error": code})
	}
	id, secret, ok := (&http.Request{Header: c.Header}).BasicAuth()
	if !ok || !same(id, s.opts.ClientID) || !same(secret, s.opts.ClientSecret) {
		return refuse("invalid_client")
	}
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	form, formErr := url.ParseQuery(string(c.Body))
	if err != nil || formErr != nil || media != "application/x-www-form-urlencoded" ||
		len(form) != 4 {
		return refuse("invalid_request")
	}
	for _, values := range form {
		if len(values) != 1 {
			return refuse("invalid_request")
		}
	}
	switch {
	case form.Get("grant_type") != "password":
		return refuse("unsupported_grant_type")
	case form.Get("scope") != "read write":
		return refuse("invalid_scope")
	}
	for organization, key := range s.opts.APIKeys {
		if same(form.Get("username"), key) && same(form.Get("password"), key) {
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
	}
	return refuse("invalid_grant")
}

// operation is one call of an organization that may make it. The sandbox is
// locked.
type operation func(c *sandbox.Call, o *organization) sandbox.Answer

// authorized checks version, quota, token and subscription, in the vendor's
// order as far as it is known.
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
		organization := s.organizations[c.Params["organization"]]
		switch {
		case c.Params["version"] != "v1" && c.Params["version"] != "v2":
			return failure(http.StatusNotFound, "40", "No such address")
		case !isBearer || !known || !now.Before(owner.until):
			return sandbox.Answer{Status: http.StatusUnauthorized}
		case organization == nil || owner.organization != c.Params["organization"]:
			return failure(http.StatusForbidden, "41", "No access to the organization")
		case !organization.admit(now, s.opts.Quota):
			return quota()
		case organization.noSubscription:
			return failure(
				http.StatusForbidden,
				"90",
				"The organization has no active Pro subscription",
			)
		}
		return run(c, organization)
	}
}

// admit counts a call against the quota.
func (o *organization) admit(now time.Time, quota int) bool {
	if quota == 0 {
		return true
	}
	kept := o.calls[:0]
	for _, at := range o.calls {
		if now.Sub(at) < time.Minute {
			kept = append(kept, at)
		}
	}
	o.calls = kept
	if len(kept) >= quota {
		return false
	}
	o.calls = append(o.calls, now)
	return true
}

// quota is plain text, as the vendor's page shows it.
func quota() sandbox.Answer {
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

// recode makes an error of one of the vendor's codes; the codes of statuses
// without one are the status.
func (s *Sandbox) recode(_ *sandbox.Call, code string, _ *sandbox.Answer) sandbox.Answer {
	status := http.StatusBadRequest
	switch code {
	case "40":
		status = http.StatusNotFound
	case "41", "48", "90":
		status = http.StatusForbidden
	case "429":
		return quota()
	case "480":
		return sandbox.Answer{Status: 480}
	}
	return failure(status, code, "asked for by the test")
}

func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
