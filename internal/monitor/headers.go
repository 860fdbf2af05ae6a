package monitor

import (
	"net/http"
	"path"
	"strings"
)

// secureHeaders are for every page. The content policy allows nothing; the web
// UI replaces it with its own.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set(
			"Content-Security-Policy",
			"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		)
		next.ServeHTTP(w, r)
	})
}

// uiHeaders are for asynqmon's pages. What shows tasks is never kept by a
// browser.
func uiHeaders(policy string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// typed corrects the content types of asynqmon, which guesses them. Under
// nosniff a browser believes what it is told.
func typed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&typeWriter{ResponseWriter: w, path: r.URL.Path}, r)
	})
}

// typeWriter sets the headers of a good answer when it begins.
type typeWriter struct {
	http.ResponseWriter
	path  string
	begun bool
}

func (w *typeWriter) WriteHeader(status int) {
	if !w.begun && status < http.StatusMultipleChoices {
		w.correct(w.Header())
	}
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// correct knows asynqmon's files by their having a type: its API and its page,
// which also stands in for every file that is missing, are sent without one.
func (w *typeWriter) correct(h http.Header) {
	isFile := h.Get("Content-Type") != ""
	switch {
	case !isFile && strings.HasPrefix(w.path, uiAPI):
		h.Set("Content-Type", "application/json")
	case !isFile:
	case path.Ext(w.path) == ".svg":
		h.Set("Content-Type", "image/svg+xml")
	case path.Ext(w.path) == ".json":
		h.Set("Content-Type", "application/json")
	}
	// The names of these files hold their digest.
	if isFile && strings.HasPrefix(w.path, uiRoot+"/static/") {
		h.Set("Cache-Control", "private, max-age=86400")
	}
}

func (w *typeWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *typeWriter) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}
