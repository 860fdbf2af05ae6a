package sandbox

import (
	"bytes"
	"net/http"
	"strconv"
)

// oversize is how many bytes Fault.Oversized appends.
const oversize = 10 << 20

// write sends the answer, changed by the fault.
func (e *Engine) write(w http.ResponseWriter, r *http.Request, f Fault, a Answer) {
	if f.Drop {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.ContentType != "" {
		w.Header().Set("Content-Type", f.ContentType)
	}
	body := a.Body
	if f.Oversized {
		body = append(bytes.Clone(body), bytes.Repeat([]byte(" "), oversize)...)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		w.Header().Del("Content-Length")
		body = nil
	}
	w.WriteHeader(a.Status)
	switch {
	case f.Truncate:
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case f.Slow > 0:
		for i := range body {
			_, _ = w.Write(body[i : i+1])
			_ = http.NewResponseController(w).Flush()
			pause(r.Context(), f.Slow)
		}
	default:
		_, _ = w.Write(body)
	}
}
