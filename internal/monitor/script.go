package monitor

import (
	"bytes"
	_ "embed"
	"net/http"
	"strings"
)

// scriptPath is where the script lies that shows what asynqmon's pages do not.
const scriptPath = uiRoot + "/errand.js"

//go:embed errand.js
var script []byte

func serveScript(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/javascript")
	_, _ = w.Write(script)
}

// addScript adds the script to asynqmon's page, which it also serves for every path that
// it does not know.
func addScript(next http.Handler) http.Handler {
	tag := []byte(`<script src="` + scriptPath + `"></script></head>`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, uiAPI) || strings.HasPrefix(r.URL.Path, uiRoot+"/static/") {
			next.ServeHTTP(w, r)
			return
		}
		kept := &keptResponse{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(kept, r)
		w.Header().Del("Content-Length")
		w.WriteHeader(kept.status)
		_, _ = w.Write(bytes.Replace(kept.body.Bytes(), []byte("</head>"), tag, 1))
	})
}
