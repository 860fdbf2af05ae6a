package monitor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/hibiken/asynqmon"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/secret"
)

const (
	uiRoot  = "/monitoring"
	uiAPI   = uiRoot + "/api/"
	maxBody = 1 << 20 // a request lists the task IDs of a batch
)

// newUI wraps asynqmon. It never calls asynqmon's Close, which would close the
// shared client.
func newUI(cfg Config, parts Parts) (http.Handler, error) {
	app := asynqmon.New(asynqmon.Options{
		RootPath:         uiRoot,
		RedisConnOpt:     redisconn.Shared(parts.Redis),
		PayloadFormatter: asynqmon.PayloadFormatterFunc(orRedact(parts.Payload)),
		ResultFormatter:  asynqmon.ResultFormatterFunc(orRedact(parts.Result)),
		ReadOnly:         cfg.ReadOnly,
	})
	policy, err := contentPolicy(app)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(uiRoot+"/", changes(parts.Tasks, parts.Log, trueRetries(parts.Tasks, addScript(app))))
	mux.HandleFunc("GET "+scriptPath, serveScript)
	schedules{parts.Schedules}.register(mux)
	// asynqmon's page of metrics needs a Prometheus server and is blank without.
	mux.Handle("GET "+uiRoot+"/q/metrics", http.RedirectHandler("/metrics", http.StatusTemporaryRedirect))
	// asynqmon would query a Prometheus server here; without its address it answers
	// 500.
	mux.HandleFunc(uiAPI+"metrics", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no Prometheus server is configured; see /metrics", http.StatusNotFound)
	})
	h := fixContentTypes(mux)
	if cfg.ReadOnly {
		h = readOnly(h)
	}
	h = http.NewCrossOriginProtection().Handler(h)
	logins := newLogins(parts.Registry, parts.Log)
	return uiHeaders(policy, guard(cfg, parts.Password, logins, http.MaxBytesHandler(h, maxBody))), nil
}

func orRedact(f Formatter) func(string, []byte) string {
	if f == nil {
		return func(string, []byte) string { return secret.Redacted }
	}
	return f
}

// readOnly refuses changes. asynqmon's own check covers only its API.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(
				w,
				"monitoring is read-only; MONITORING_READ_ONLY=false allows changes",
				http.StatusMethodNotAllowed,
			)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// contentPolicy returns a content security policy that allows asynqmon's own
// files and, by their digests, the inline scripts of its page. Inline styles are
// allowed in general, because the page creates its styles by script. The Google
// fonts that it requests stay blocked; the page works without them.
func contentPolicy(app http.Handler) (string, error) {
	page := &responseRecorder{header: http.Header{}}
	app.ServeHTTP(page, &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Path: uiRoot + "/"},
		Header: http.Header{},
	})
	scripts := inlineScript.FindAllSubmatch(page.body.Bytes(), -1)
	if len(scripts) == 0 {
		return "", errors.New(
			"asynqmon's page has no inline script any more; its content policy needs a review",
		)
	}
	sources := []string{"'self'"}
	for _, script := range scripts {
		digest := sha256.Sum256(script[1])
		sources = append(sources, "'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"'")
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + strings.Join(sources, " "),
		"style-src 'self' 'unsafe-inline'",
		"img-src 'self' data:",
		"font-src 'self'",
		"connect-src 'self'",
		"manifest-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; "), nil
}

// responseRecorder keeps the body of a response.
type responseRecorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *responseRecorder) Header() http.Header {
	return r.header
}

func (r *responseRecorder) Write(p []byte) (int, error) {
	return r.body.Write(p)
}

func (r *responseRecorder) WriteHeader(int) {}
