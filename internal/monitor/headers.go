package monitor

import (
	"net/http"
	"path"
	"strings"
)

const denyAll = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secureHeaders sets the security headers of every page. Its content policy
// allows nothing; the web UI replaces it with its own.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", denyAll)
		next.ServeHTTP(w, r)
	})
}

// uiHeaders sets the headers of asynqmon's pages. Browsers must not cache pages
// that show tasks.
func uiHeaders(policy string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// fixContentTypes corrects the content types that asynqmon guesses wrong: with
// nosniff, a browser trusts them.
func fixContentTypes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&contentTypeWriter{ResponseWriter: w, path: r.URL.Path}, r)
	})
}

// contentTypeWriter corrects the headers of a successful response before they
// are sent.
type contentTypeWriter struct {
	http.ResponseWriter
	path        string
	wroteHeader bool
}

func (w *contentTypeWriter) WriteHeader(status int) {
	if !w.wroteHeader && status < http.StatusMultipleChoices {
		w.correct(w.Header())
	}
	w.wroteHeader = true
	w.ResponseWriter.WriteHeader(status)
}

// correct fixes the headers of one response. asynqmon sets a content type only
// for its files, not for its API or for its page, which it also serves in place
// of a missing file.
func (w *contentTypeWriter) correct(h http.Header) {
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
	// The names of these files contain their digest.
	if isFile && strings.HasPrefix(w.path, uiRoot+"/static/") {
		h.Set("Cache-Control", "private, max-age=86400")
	}
}

func (w *contentTypeWriter) Write(p []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController access to the connection.
func (w *contentTypeWriter) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}
