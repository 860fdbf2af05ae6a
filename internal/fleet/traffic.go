package fleet

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// traffic records what the sandboxes' counts do not contain: when each request
// arrived, and which tokens were issued.
type traffic struct {
	mu       sync.Mutex
	arrivals map[string][]time.Time // by path
	tokens   []string
}

func newTraffic() *traffic {
	return &traffic{arrivals: map[string][]time.Time{}}
}

// record records the traffic of a handler.
func (t *traffic) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		t.arrivals[r.URL.Path] = append(t.arrivals[r.URL.Path], time.Now())
		t.mu.Unlock()
		copied := &copyWriter{ResponseWriter: w}
		next.ServeHTTP(copied, r)
		if issued := tokensIn(copied.body.Bytes()); len(issued) > 0 {
			t.mu.Lock()
			t.tokens = append(t.tokens, issued...)
			t.mu.Unlock()
		}
	})
}

// tokensIn returns the tokens in an answer: the texts of members whose name is
// token or access_token.
func tokensIn(body []byte) []string {
	if !bytes.Contains(bytes.ToLower(body), []byte("token")) {
		return nil
	}
	var answer any
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return collectTokens(answer)
}

func collectTokens(value any) []string {
	members, _ := value.(map[string]any)
	var found []string
	for name, member := range members {
		text, isText := member.(string)
		switch strings.ToLower(name) {
		case "token", "access_token":
			if isText && text != "" {
				found = append(found, text)
			}
		default:
			found = append(found, collectTokens(member)...)
		}
	}
	return found
}

// copyWriter keeps a copy of what it writes.
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

// Arrivals returns the times at which requests arrived whose path ends with suffix,
// in their order.
func (f *Fixture) Arrivals(suffix string) []time.Time {
	f.traffic.mu.Lock()
	defer f.traffic.mu.Unlock()
	var all []time.Time
	for path, times := range f.traffic.arrivals {
		if strings.HasSuffix(path, suffix) {
			all = append(all, times...)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// Tokens returns all tokens that the vendors have issued.
func (f *Fixture) Tokens() []string {
	f.traffic.mu.Lock()
	defer f.traffic.mu.Unlock()
	return slices.Clone(f.traffic.tokens)
}
