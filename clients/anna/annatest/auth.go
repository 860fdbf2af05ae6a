package annatest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"errand.internal/clients/sandbox"
)

func (s *Sandbox) getToken(c *sandbox.Call) sandbox.Answer {
	if refusal, ok := checkRequest(c); !ok {
		return refusal
	}
	in, err := decodeStrings(c.Body, "hash", "user", "pass")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	s.mu.Lock()
	password := s.options.Password
	s.mu.Unlock()
	if in["hash"] != s.options.CompanyHash || in["user"] != s.options.User || in["pass"] != password {
		return failure(http.StatusOK, "Invalid credentials for "+in["hash"]+"@"+in["user"]+".")
	}
	now := s.options.Now()
	token := s.newToken(now)
	s.PutToken(token)
	c.Effect(in["user"])
	return success("", map[string]any{"data": map[string]string{
		"Token":     token,
		"ExpiresIn": s.options.expiresIn(now),
	}})
}

func (s *Sandbox) newToken(now time.Time) string {
	if s.options.Opaque {
		return rand.Text()
	}
	parts := []string{
		`{"alg":"HS256","typ":"JWT"}`,
		fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(s.options.TokenLife).Unix()),
		rand.Text(), // in place of a signature
	}
	for i, part := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(part))
	}
	return strings.Join(parts, ".")
}

// authorized wraps an operation and refuses calls without a valid token or with
// another company.
func (s *Sandbox) authorized(run func(*sandbox.Call) sandbox.Answer) sandbox.Operation {
	return func(c *sandbox.Call) sandbox.Answer {
		if c.Fault.ExpireToken {
			s.RevokeTokens()
		}
		if refusal, ok := checkRequest(c); !ok {
			return refusal
		}
		token, bearer := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		expiry, known := s.tokens[token]
		s.mu.Unlock()
		if !bearer || !known || !s.options.Now().Before(expiry) {
			return failure(s.options.RefusedStatus, "Invalid token for "+s.options.CompanyHash+".")
		}
		var in struct{ Hash string }
		if json.Unmarshal(c.Body, &in) == nil && in.Hash != s.options.CompanyHash {
			return failure(http.StatusOK, "Invalid company "+in.Hash+".")
		}
		return run(c)
	}
}
