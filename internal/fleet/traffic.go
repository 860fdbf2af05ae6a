package fleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/dinero/dinerotest"
)

// traffic notes what the sandboxes' own counts do not hold: when each request
// came, and which tokens were given out.
type traffic struct {
	mu       sync.Mutex
	arrivals map[string][]time.Time // by path
	tokens   []string
}

// loginPath ends the address of AnnA's login, dineroLogin that of Dinero's.
const (
	loginPath   = "/REST/Credentials/GetToken"
	dineroLogin = dinerotest.Mount + dinerotest.TokenPath
)

func (t *traffic) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		if t.arrivals == nil {
			t.arrivals = map[string][]time.Time{}
		}
		t.arrivals[r.URL.Path] = append(t.arrivals[r.URL.Path], time.Now())
		t.mu.Unlock()
		if !strings.HasSuffix(r.URL.Path, loginPath) && r.URL.Path != dineroLogin {
			next.ServeHTTP(w, r)
			return
		}
		copied := &copyWriter{ResponseWriter: w}
		next.ServeHTTP(copied, r)
		var answer struct {
			Data   struct{ Token string }
			Dinero string `json:"access_token"`
		}
		_ = json.Unmarshal(copied.body.Bytes(), &answer) // a failed login has no token
		if token := cmp.Or(answer.Data.Token, answer.Dinero); token != "" {
			t.mu.Lock()
			t.tokens = append(t.tokens, token)
			t.mu.Unlock()
		}
	})
}

// copyWriter keeps what it writes.
type copyWriter struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements http.ResponseWriter.
func (w *copyWriter) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *copyWriter) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}

// Logins are the times at which AnnA was asked for a token.
func (s *Site) Logins() []time.Time {
	return s.Arrivals(loginPath)
}

// Arrivals are the times at which requests came whose path ends so, in the
// order of their coming.
func (s *Site) Arrivals(path string) []time.Time {
	s.traffic.mu.Lock()
	defer s.traffic.mu.Unlock()
	var all []time.Time
	for at, times := range s.traffic.arrivals {
		if strings.HasSuffix(at, path) {
			all = append(all, times...)
		}
	}
	return all
}

// Tokens are all that AnnA and Dinero gave out.
func (s *Site) Tokens() []string {
	s.traffic.mu.Lock()
	defer s.traffic.mu.Unlock()
	return append([]string(nil), s.traffic.tokens...)
}

// RevokeTokens has AnnA forget all tokens.
func (s *Site) RevokeTokens() {
	s.AnnA.RevokeTokens()
}

// LoginCalls is how often AnnA was asked for a token, in vain or not.
func (s *Site) LoginCalls() int {
	return s.AnnA.Calls(annatest.OpToken)
}
