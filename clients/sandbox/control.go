package sandbox

import (
	"encoding/json"
	"net/http"
)

// routeControl adds the control API, which lies below _sandbox/ of the mount
// point:
//
//	POST   _sandbox/faults        arm one Fault
//	GET    _sandbox/faults        list the armed faults
//	DELETE _sandbox/faults[?op=]  disarm all faults, or those of one operation
//	GET    _sandbox/counts        list calls and effects so far
//	POST   _sandbox/reset         clear counts, requests and faults
func (e *Engine) routeControl() {
	e.HandleControl("POST faults", e.armFault)
	e.HandleControl("GET faults", func(w http.ResponseWriter, _ *http.Request) {
		Reply(w, http.StatusOK, e.Faults())
	})
	e.HandleControl("DELETE faults", func(w http.ResponseWriter, r *http.Request) {
		op := r.URL.Query().Get("op")
		if !e.known(op) {
			Reply(w, http.StatusNotFound, map[string]string{"error": "no operation " + op})
			return
		}
		e.Clear(op)
		w.WriteHeader(http.StatusNoContent)
	})
	e.HandleControl("GET counts", func(w http.ResponseWriter, _ *http.Request) {
		Reply(w, http.StatusOK, e.Counts())
	})
	e.HandleControl("POST reset", func(w http.ResponseWriter, _ *http.Request) {
		e.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
}

func (e *Engine) armFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&f); err != nil {
		Reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	if err := e.checkFault(f); err != nil {
		Reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	e.Inject(f)
	w.WriteHeader(http.StatusNoContent)
}

// Faults returns the armed faults. Times and Skip are what is left of them.
func (e *Engine) Faults() []Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []Fault{}
	for _, a := range e.faults {
		if a.left == 0 {
			continue
		}
		f := a.Fault
		f.Times = max(a.left, 0)
		f.Skip = a.skip
		out = append(out, f)
	}
	return out
}

// Reply writes v as JSON. It is for handlers of the control API.
func Reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
