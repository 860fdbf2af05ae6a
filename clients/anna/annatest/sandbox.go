// Package annatest is a sandbox of AnnA Corporate User V3: as strict about
// requests as the vendor's page, and able to go wrong on demand.
//
// Its control API, below _sandbox/, adds to that of clients/sandbox:
//
//	GET  _sandbox/users            all users, active or not, with their effects
//	PUT  _sandbox/users/{userId}   {"active":true}: add or change a user
//	PUT  _sandbox/alerts/{userId}  {"alertCounter":3}: set a user's counter
//	POST _sandbox/revoke           forget all tokens
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

// The operations, named as the client names them.
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

// Sandbox is an http.Handler; sandbox.Mount puts it below a base path. An
// effect of OpToken is a login that succeeded (its subject is the login's
// user), one of OpHash or OpLink a minted login or link, one of OpForceHash a
// user made or changed, one of OpInactivate an inactivation.
type Sandbox struct {
	*sandbox.Engine
	options Options

	mu     sync.Mutex
	users  map[string]*user
	alerts map[string]int       // by document, see docKey
	tokens map[string]time.Time // their end
}

type user struct {
	active bool
	alerts int
	name   string // as the last forced hash gave it
}

// User is one user as GET _sandbox/users shows it.
type User struct {
	UserID        string `json:"userId"`
	UserName      string `json:"userName,omitempty"`
	Active        bool   `json:"active"`
	AlertCounter  int    `json:"alertCounter"`
	Hashes        int    `json:"hashes"`
	ForcedHashes  int    `json:"forcedHashes"`
	Inactivations int    `json:"inactivations"`
}

// New makes a sandbox without users.
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
	s.Handle(
		"REST/AnnACorporate/User/Inactivate",
		OpInactivate,
		s.authorized(s.inactivate),
	)
	s.Handle(
		"REST/AnnACorporate/User/UserHashForced",
		OpForceHash,
		s.authorized(s.userHashForced),
	)
	s.Handle(
		"REST/AnnACorporate/Messenger/Structure",
		OpStructure,
		s.authorized(s.structure),
	)
	s.Handle(
		"REST/AnnACorporate/Messenger/AlertCounter",
		OpAlerts,
		s.authorized(s.alertCounter),
	)
	s.Handle(
		"REST/AnnACorporate/Messenger/Requests",
		OpRequests,
		s.authorized(s.requests),
	)
	s.Handle("REST/AnnACorporate/Messenger/Link", OpLink, s.authorized(s.link))
	s.routeControl()
	return s
}

// recode makes an answer of nothing but success and message; the code is
// "true" or "false".
func recode(_ *sandbox.Call, code string, _ *sandbox.Answer) sandbox.Answer {
	return sandbox.JSON(
		http.StatusOK,
		map[string]any{"success": code == "true", "message": "asked for by the test"},
	)
}

// Account returns the options in use, the account among them.
func (s *Sandbox) Account() Options {
	return s.options
}

// PutUser adds a user or changes whether it is active.
func (s *Sandbox) PutUser(userID string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[userID]; ok {
		u.active = active
		return
	}
	s.users[userID] = &user{active: active}
}

// Users returns all users, by ID.
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

// Active reports whether the user is there and active.
func (s *Sandbox) Active(userID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[userID]
	return ok && u.active
}

// SetAlerts sets the alert counter of a user, who must be there.
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
	s.alerts[docKey(docType, docValue)] = n
}

func docKey(docType, docValue string) string {
	return docType + "\x00" + docValue
}

// RevokeTokens forgets all tokens.
func (s *Sandbox) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// PutToken makes token a good one for the usual life, as if somebody had logged
// in; a test need not.
func (s *Sandbox) PutToken(token string) {
	end := s.options.Now().Add(s.options.TokenLife)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = end
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
