package monitor

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// settle has the records agree with what asynqmon has deleted or archived, before the
// page hears of it. Without it they would until the worker's next scan.
func settle(settle Settle, next http.Handler) http.Handler {
	if settle == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queue, action, ids := changeOf(r)
		watched := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(watched, r)
		// A batch is answered with 200 and the IDs that failed.
		if watched.status < http.StatusMultipleChoices && (action == "delete" || action == "archive") {
			settle(r.Context(), queue, ids)
		}
	})
}

// changeOf tells which tasks of a queue a request deletes or archives; no IDs mean all
// of a state.
//
//	DELETE /api/queues/{queue}/{state}_tasks/{id}
//	DELETE /api/queues/{queue}/{state}_tasks:delete_all
//	POST   /api/queues/{queue}/{state}_tasks/{id}:archive
//	POST   /api/queues/{queue}/{state}_tasks:archive_all
//	POST   /api/queues/{queue}/{state}_tasks:batch_delete    {"task_ids": [...]}
//	POST   /api/queues/{queue}/{state}_tasks:batch_archive   {"task_ids": [...]}
func changeOf(r *http.Request) (queue, action string, ids []string) {
	path, found := strings.CutPrefix(r.URL.Path, uiAPI+"queues/")
	if !found || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return "", "", nil
	}
	queue, path, _ = strings.Cut(path, "/")
	_, id, one := strings.Cut(path, "_tasks/")
	switch {
	case one && r.Method == http.MethodDelete:
		return queue, "delete", []string{id}
	case one && strings.HasSuffix(id, ":archive"):
		return queue, "archive", []string{strings.TrimSuffix(id, ":archive")}
	case strings.HasSuffix(path, "_tasks:delete_all"):
		return queue, "delete", nil
	case strings.HasSuffix(path, "_tasks:archive_all"):
		return queue, "archive", nil
	}
	_, batch, found := strings.Cut(path, "_tasks:batch_")
	if !found {
		return "", "", nil
	}
	raw, _ := io.ReadAll(r.Body) // a body that is too long fails asynqmon, too
	r.Body = io.NopCloser(bytes.NewReader(raw))
	var body struct {
		TaskIDs []string `json:"task_ids"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || len(body.TaskIDs) == 0 {
		return "", "", nil
	}
	return queue, batch, body.TaskIDs
}

// statusWriter keeps the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}
