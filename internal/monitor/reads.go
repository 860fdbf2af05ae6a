package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Schedule is an entry of the page of schedules.
type Schedule struct {
	Name string
	// When says how often it runs.
	When string
	Type string
	// Payload is masked.
	Payload string
	// Options are further facts, such as how many subjects it has.
	Options []string
	Next    time.Time
	// Last is the time of the last tick, zero if there is none; Enqueued is when it was
	// in the queue.
	Last     time.Time
	Enqueued time.Time
}

// schedules serves what asynqmon's page of schedulers shows.
type schedules struct {
	list func(ctx context.Context) ([]Schedule, error)
}

func (s schedules) register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+uiAPI+"scheduler_entries", s.entries)
	mux.HandleFunc("GET "+uiAPI+"scheduler_entries/{name}/enqueue_events", s.events)
}

func (s schedules) read(w http.ResponseWriter, r *http.Request) ([]Schedule, bool) {
	if s.list == nil {
		return nil, true
	}
	all, err := s.list(r.Context())
	if err != nil {
		http.Error(w, "the schedules cannot be read: "+err.Error(), http.StatusServiceUnavailable)
		return nil, false
	}
	return all, true
}

func (s schedules) entries(w http.ResponseWriter, r *http.Request) {
	all, ok := s.read(w, r)
	if !ok {
		return
	}
	type entry struct {
		ID       string   `json:"id"`
		Spec     string   `json:"spec"`
		Type     string   `json:"task_type"`
		Payload  string   `json:"task_payload"`
		Options  []string `json:"options"`
		Next     string   `json:"next_enqueue_at"`
		Previous string   `json:"prev_enqueue_at,omitempty"`
	}
	entries := make([]entry, len(all))
	for i, one := range all {
		entries[i] = entry{
			ID:      one.Name,
			Spec:    one.When,
			Type:    one.Type,
			Payload: one.Payload,
			Options: append([]string{}, one.Options...),
			Next:    one.Next.Format(time.RFC3339),
		}
		if !one.Last.IsZero() {
			entries[i].Previous = one.Last.Format(time.RFC3339)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"entries": entries})
}

// events has the last tick only: a tick has any number of tasks.
func (s schedules) events(w http.ResponseWriter, r *http.Request) {
	all, ok := s.read(w, r)
	if !ok {
		return
	}
	type event struct {
		TaskID string `json:"task_id"`
		At     string `json:"enqueued_at"`
	}
	events := []event{}
	for _, one := range all {
		if one.Name == r.PathValue("name") && !one.Last.IsZero() {
			events = append(events, event{
				TaskID: "tick of " + one.Last.Format(time.RFC3339),
				At:     one.Enqueued.Format(time.RFC3339),
			})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"events": events})
}

// trueRetries has the lists and tasks say how often a task was attempted. asynq's own
// counter plays no part, and its limit is the largest number there is.
func trueRetries(tasks Tasks, next http.Handler) http.Handler {
	if tasks == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, found := strings.CutPrefix(r.URL.Path, uiAPI+"queues/")
		queue, list, isTask := strings.Cut(path, "/")
		if !found || !isTask || !strings.Contains(list, "tasks") || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		kept := &keptResponse{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(kept, r)
		body := kept.body.Bytes()
		if kept.status == http.StatusOK {
			body = rewriteRetries(r.Context(), tasks, queue, body)
		}
		w.WriteHeader(kept.status)
		_, _ = w.Write(body)
	})
}

// noLimit is what the pages show as the most retries: a task is tried while it is usable.
const noLimit = "∞"

// rewriteRetries returns the body with the attempts of each task, or as it is if it is
// not understood.
func rewriteRetries(ctx context.Context, tasks Tasks, queue string, body []byte) []byte {
	var answer map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		return body
	}
	found := map[string]map[string]any{}
	add := func(value any) {
		task, _ := value.(map[string]any)
		if id, ok := task["id"].(string); ok && task["max_retry"] != nil {
			found[id] = task
		}
	}
	add(answer)
	list, _ := answer["tasks"].([]any)
	for _, task := range list {
		add(task)
	}
	if len(found) == 0 {
		return body
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	attempts, err := tasks.Attempts(ctx, queue, ids)
	for id, task := range found {
		task["max_retry"] = noLimit
		if err == nil {
			task["retried"] = attempts[id]
		}
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(answer); err != nil {
		return body
	}
	return out.Bytes()
}

// keptResponse keeps the body and the status of a response.
type keptResponse struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (k *keptResponse) WriteHeader(status int) {
	k.status = status
}

// Write implements http.ResponseWriter.
func (k *keptResponse) Write(p []byte) (int, error) {
	return k.body.Write(p)
}
