package annatest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"time"

	"errand.internal/clients/sandbox"
)

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
