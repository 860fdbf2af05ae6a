package annatest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"errand.internal/clients/sandbox"
)

// filterNames are the keys of messengerFilters.
var filterNames = []string{
	"departmentAlias",
	"channelAlias",
	"dataIni",
	"dataFim",
	"status",
	"pendentes",
}

// success answers with fields besides success and message.
func success(message string, fields map[string]any) sandbox.Answer {
	body := map[string]any{"success": true, "message": message}
	maps.Copy(body, fields)
	return sandbox.JSON(http.StatusOK, body)
}

func failure(status int, message string) sandbox.Answer {
	return sandbox.JSON(status, map[string]any{"success": false, "message": message})
}

// checkRequest refuses a method or content type that the vendor's page does not
// show.
func checkRequest(c *sandbox.Call) (refusal sandbox.Answer, ok bool) {
	if c.Method != http.MethodPost {
		return failure(http.StatusMethodNotAllowed, "only POST is allowed"), false
	}
	mediaType, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return failure(http.StatusUnsupportedMediaType, "only application/json is accepted"), false
	}
	return sandbox.Answer{}, true
}

// decodeStrings decodes a JSON object that must have exactly the named keys, in
// this casing, with strings as values.
func decodeStrings(raw []byte, names ...string) (map[string]string, error) {
	var decoded map[string]*string
	if err := json.Unmarshal(raw, &decoded); err != nil {
		return nil, errors.New("a JSON object of strings is expected")
	}
	out := map[string]string{}
	for _, name := range names {
		if decoded[name] == nil {
			return nil, errors.New(name + " is missing")
		}
		out[name] = *decoded[name]
	}
	for name := range decoded {
		if _, ok := out[name]; !ok {
			return nil, errors.New(name + " is unknown")
		}
	}
	return out, nil
}

func (s *Sandbox) getToken(c *sandbox.Call) sandbox.Answer {
	if refusal, ok := checkRequest(c); !ok {
		return refusal
	}
	in, err := decodeStrings(c.Body, "hash", "user", "pass")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if in["hash"] != s.options.CompanyHash || in["user"] != s.options.User ||
		in["pass"] != s.options.Password {
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

func (s *Sandbox) userHash(c *sandbox.Call) sandbox.Answer {
	in, err := decodeStrings(c.Body, "hash", "userId", "startService")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	name := in["hash"] + "@" + in["userId"]
	s.mu.Lock()
	u, known := s.users[in["userId"]]
	active := known && u.active
	s.mu.Unlock()
	switch {
	case !known:
		return failure(http.StatusOK, "User "+name+" not found.")
	case !active:
		return failure(http.StatusOK, "User "+name+" is inactive.")
	}
	c.Effect(in["userId"])
	return s.accessData(in["startService"])
}

// accessData answers with a new login.
func (s *Sandbox) accessData(startService string) sandbox.Answer {
	hash := rand.Text()
	query := "?hash=" + hash + "&startService=" + url.QueryEscape(startService)
	expiry := s.options.Now().Add(10 * time.Minute)
	return success("User Hash generated successfully", map[string]any{"accessData": map[string]string{
		"Hash":        hash,
		"ChatURL":     "https://chat.example/" + query,
		"EmbeddedURL": "https://chat.example/embedded" + query,
		"Expires":     expiry.In(s.options.Zone).Format(timestampLayout),
	}})
}

// userHashForced creates or renames the user and makes it active.
func (s *Sandbox) userHashForced(c *sandbox.Call) sandbox.Answer {
	in, err := decodeStrings(c.Body, "hash", "userId", "userName", "startService")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if in["userId"] == "" || in["userName"] == "" {
		return failure(http.StatusOK, "User "+in["hash"]+"@"+in["userId"]+" has no name.")
	}
	s.mu.Lock()
	u, known := s.users[in["userId"]]
	if !known {
		u = &user{}
		s.users[in["userId"]] = u
	}
	u.active = true
	u.name = in["userName"]
	s.mu.Unlock()
	c.Effect(in["userId"])
	return s.accessData(in["startService"])
}

func (s *Sandbox) inactivate(c *sandbox.Call) sandbox.Answer {
	in, err := decodeStrings(c.Body, "hash", "userId")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	name := in["hash"] + "@" + in["userId"]
	s.mu.Lock()
	u, known := s.users[in["userId"]]
	repeat := known && !u.active
	if known {
		u.active = false
	}
	s.mu.Unlock()
	switch {
	case !known:
		return failure(http.StatusOK, "User "+name+" not found.")
	case repeat && s.options.RefuseRepeat:
		return failure(http.StatusOK, "User "+name+" is already inactive.")
	}
	c.Effect(in["userId"])
	return success("User "+name+" inactivated successfully", nil)
}

func (s *Sandbox) alertCounter(c *sandbox.Call) sandbox.Answer {
	return s.withAlerts(c, func(n int) sandbox.Answer {
		return success("", map[string]any{"alertCounter": n})
	})
}

// requests lists one request per alert.
func (s *Sandbox) requests(c *sandbox.Call) sandbox.Answer {
	return s.withAlerts(c, func(n int) sandbox.Answer {
		list := []map[string]any{}
		for i := range n {
			list = append(list, map[string]any{
				"department":  "Sales",
				"channel":     "Web",
				"description": fmt.Sprintf("Request %d", i+1),
				"openingDate": "31/12/2024",
				"protocol":    fmt.Sprintf("2024-%04d", i+1),
				"status":      "A",
				"pending":     "S",
				"link":        fmt.Sprintf("https://chat.example/requests/%d", i+1),
			})
		}
		return success("", map[string]any{"userRequests": list})
	})
}

// withAlerts checks a request of AlertCounter or Requests, which have the same
// form, and calls answer with the user's alert counter.
func (s *Sandbox) withAlerts(c *sandbox.Call, answer func(n int) sandbox.Answer) sandbox.Answer {
	var filters struct {
		MessengerFilters json.RawMessage `json:"messengerFilters"`
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(c.Body, &outer) != nil || json.Unmarshal(c.Body, &filters) != nil {
		return failure(http.StatusBadRequest, "a JSON object is expected")
	}
	delete(outer, "messengerFilters")
	rest, _ := json.Marshal(outer) // decoded JSON always encodes
	in, err := decodeStrings(rest, "hash", "userId", "userDocType", "userDocValue")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if err := checkFilters(filters.MessengerFilters); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	n, known := s.alertsOf(in)
	if !known {
		return failure(http.StatusOK, "User "+in["hash"]+"@"+in["userId"]+" not found.")
	}
	return answer(n)
}

// alertsOf returns the alert counter of the user that a request identifies by ID
// or by document, and false if there is no such user.
func (s *Sandbox) alertsOf(in map[string]string) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[in["userId"]]; ok {
		return u.alerts, true
	}
	n, ok := s.alerts[documentKey(in["userDocType"], in["userDocValue"])]
	return n, ok && in["userId"] == ""
}

func (s *Sandbox) structure(c *sandbox.Call) sandbox.Answer {
	if _, err := decodeStrings(c.Body, "hash"); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	return success("", map[string]any{"structure": map[string]any{
		"CompaniesHash": s.options.CompanyHash,
		"CompaniesName": "Sandbox Ltda.",
		"Departments": []map[string]any{
			{
				"Alias":    "sales",
				"Name":     "Sales",
				"Channels": []map[string]string{{"Alias": "web", "Name": "Web"}},
			},
		},
	}})
}

func (s *Sandbox) link(c *sandbox.Call) sandbox.Answer {
	in, err := decodeStrings(c.Body, "hash", "userId", "userDocType", "userDocValue")
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if _, known := s.alertsOf(in); !known {
		return failure(http.StatusOK, "User "+in["hash"]+"@"+in["userId"]+" not found.")
	}
	c.Effect(in["userId"])
	return success("", map[string]any{
		"messengerLink": "https://chat.example/messenger?hash=" + rand.Text(),
	})
}

func checkFilters(raw json.RawMessage) error {
	in, err := decodeStrings(raw, filterNames...)
	if err != nil {
		return fmt.Errorf("messengerFilters: %w", err)
	}
	for _, name := range []string{"dataIni", "dataFim"} {
		if _, err := time.Parse("02/01/2006", in[name]); in[name] != "" && err != nil {
			return errors.New(name + " is not DD/MM/YYYY")
		}
	}
	if status := in["status"]; status != "" && status != "A" && status != "E" {
		return errors.New("status is neither A nor E")
	}
	if pending := in["pendentes"]; pending != "" && pending != "S" && pending != "N" {
		return errors.New("pendentes is neither S nor N")
	}
	return nil
}
