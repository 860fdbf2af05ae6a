// Package annatest is a sandbox of AnnA's Corporate User API, version 3. It is as
// strict about requests as the vendor's page and fails on demand.
//
// Its control API below _sandbox/ extends that of clients/sandbox:
//
//	GET  _sandbox/users            all users, active or not, with their effects
//	PUT  _sandbox/users/{userId}   {"active":true}: add or change a user
//	PUT  _sandbox/alerts/{userId}  {"alertCounter":3}: set a user's counter
//	POST _sandbox/revoke           revoke all tokens
package annatest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"errand.internal/clients/sandbox"
)

// The operations, with the client's names for them.
const (
	OpToken      = "token"
	OpHash       = "user hash"
	OpForceHash  = "user force hash"
	OpInactivate = "user inactivate"
	OpStructure  = "messenger structure"
	OpAlerts     = "messenger alerts"
	OpRequests   = "messenger requests"
	OpLink       = "messenger link"
)

// Sandbox is an http.Handler, which sandbox.Mount serves below a base path. The
// operations with effects are OpToken (a successful login, its subject is the
// login's user), OpHash and OpLink (a new login or link), OpForceHash (a user
// created or changed) and OpInactivate (an inactivation).
type Sandbox struct {
	*sandbox.Engine
	options Options

	mu     sync.Mutex
	users  map[string]*user
	alerts map[string]int       // by documentKey
	tokens map[string]time.Time // expiry by token
}

type user struct {
	active bool
	alerts int
	name   string // set by the latest forced hash
}

// User is the state of one user.
type User struct {
	UserID        string `json:"userId"`
	UserName      string `json:"userName,omitempty"`
	Active        bool   `json:"active"`
	AlertCounter  int    `json:"alertCounter"`
	Hashes        int    `json:"hashes"`
	ForcedHashes  int    `json:"forcedHashes"`
	Inactivations int    `json:"inactivations"`
}

// New returns a sandbox without users.
func New(o Options) *Sandbox {
	s := &Sandbox{
		options: o.withDefaults(),
		users:   map[string]*user{},
		alerts:  map[string]int{},
		tokens:  map[string]time.Time{},
	}
	s.Engine = sandbox.New(recode)
	s.Handle("REST/Credentials/GetToken", OpToken, s.getToken)
	s.Handle("REST/AnnACorporate/User/UserHash", OpHash, s.authorized(s.userHash))
	s.Handle("REST/AnnACorporate/User/UserHashForced", OpForceHash, s.authorized(s.userHashForced))
	s.Handle("REST/AnnACorporate/User/Inactivate", OpInactivate, s.authorized(s.inactivate))
	s.Handle("REST/AnnACorporate/Messenger/Structure", OpStructure, s.authorized(s.structure))
	s.Handle("REST/AnnACorporate/Messenger/AlertCounter", OpAlerts, s.authorized(s.alertCounter))
	s.Handle("REST/AnnACorporate/Messenger/Requests", OpRequests, s.authorized(s.requests))
	s.Handle("REST/AnnACorporate/Messenger/Link", OpLink, s.authorized(s.link))
	s.routeControl()
	return s
}

// recode returns an answer that has only success and message. The code is "true"
// or "false".
func recode(_ *sandbox.Call, code string, _ *sandbox.Answer) sandbox.Answer {
	return sandbox.JSON(http.StatusOK, map[string]any{
		"success": code == "true",
		"message": "requested by the test",
	})
}

// Account returns the options in use, which include the account.
func (s *Sandbox) Account() Options {
	return s.options
}

// SetPassword changes the account's password. The old one, and all tokens, are refused from
// now on.
func (s *Sandbox) SetPassword(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Password = password
	clear(s.tokens)
}

// PutUser adds a user, or changes whether an existing user is active.
func (s *Sandbox) PutUser(userID string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[userID]; ok {
		u.active = active
		return
	}
	s.users[userID] = &user{active: active}
}

// Users returns all users, sorted by ID.
func (s *Sandbox) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []User{}
	for id, u := range s.users {
		out = append(out, User{
			UserID:        id,
			UserName:      u.name,
			Active:        u.active,
			AlertCounter:  u.alerts,
			Hashes:        s.EffectsOf(OpHash, id),
			ForcedHashes:  s.EffectsOf(OpForceHash, id),
			Inactivations: s.EffectsOf(OpInactivate, id),
		})
	}
	slices.SortFunc(out, func(a, b User) int {
		return strings.Compare(a.UserID, b.UserID)
	})
	return out
}

// Active reports whether the user exists and is active.
func (s *Sandbox) Active(userID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[userID]
	return ok && u.active
}

// SetAlerts sets the alert counter of a user, who must exist.
func (s *Sandbox) SetAlerts(userID string, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[userID]
	if !ok {
		return errors.New("no such user")
	}
	u.alerts = n
	return nil
}

// SetDocumentAlerts sets the alert counter of a document.
func (s *Sandbox) SetDocumentAlerts(docType, docValue string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alerts[documentKey(docType, docValue)] = n
}

func documentKey(docType, docValue string) string {
	return docType + "\x00" + docValue
}

// RevokeTokens revokes all tokens.
func (s *Sandbox) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// PutToken makes token valid for Options.TokenLife, as if a login had issued it.
func (s *Sandbox) PutToken(token string) {
	expiry := s.options.Now().Add(s.options.TokenLife)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = expiry
}

func (s *Sandbox) routeControl() {
	s.HandleControl("GET users", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.Reply(w, http.StatusOK, s.Users())
	})
	s.HandleControl("PUT users/{userId}", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Active *bool `json:"active"`
		}
		if !readControl(w, r, &in) {
			return
		}
		s.PutUser(r.PathValue("userId"), in.Active == nil || *in.Active)
		w.WriteHeader(http.StatusNoContent)
	})
	s.HandleControl("PUT alerts/{userId}", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			AlertCounter int `json:"alertCounter"`
		}
		if !readControl(w, r, &in) {
			return
		}
		if err := s.SetAlerts(r.PathValue("userId"), in.AlertCounter); err != nil {
			sandbox.Reply(w, http.StatusNotFound, map[string]string{"error": err.Error()})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s.HandleControl("POST revoke", func(w http.ResponseWriter, _ *http.Request) {
		s.RevokeTokens()
		w.WriteHeader(http.StatusNoContent)
	})
}

func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		sandbox.Reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return false
	}
	return true
}
