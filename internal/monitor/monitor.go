// Package monitor serves the admin HTTP of a worker: health, metrics and the web
// UI of asynqmon, which needs a login and is read-only by default.
//
//	/            links to the pages below
//	/healthz     200 while the process runs
//	/readyz      200 if the worker can work, else 503 with the reason
//	/metrics     Prometheus metrics
//	/monitoring/ asynqmon
//
// asynqmon has no login, no protection against cross-site requests and no
// security headers; guard.go and headers.go add them.
package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// Config holds the settings with the prefix MONITORING_.
type Config struct {
	// User and Password are the Basic login of /monitoring/. If both are unset, it
	// is served only to clients on the same host that name a loopback host.
	User     string        `env:"USER" doc:"Basic login of /monitoring/. Without user and password it is served only to loopback clients that name a loopback host."`
	Password secret.String `env:"PASSWORD" doc:"Password of that login, at least 12 characters."`
	// ReadOnly refuses every change, such as pausing a queue or deleting a task. If
	// it is unset, it is true.
	ReadOnly bool `env:"READ_ONLY" envDefault:"true" doc:"Refuse changes in /monitoring/: pausing queues, running, archiving or deleting tasks."`
}

// minPassword is the fewest characters of a password.
const minPassword = 12

// Validate names the variables at fault.
func (c Config) Validate() error {
	switch {
	case c.User == "" && !c.Password.Empty():
		return errors.New("MONITORING_USER: must be set, because MONITORING_PASSWORD is")
	case c.User != "" && c.Password.Empty():
		return errors.New("MONITORING_PASSWORD: must be set, because MONITORING_USER is")
	}
	if n := utf8.RuneCountInString(c.Password.Reveal()); n > 0 && n < minPassword {
		return fmt.Errorf("MONITORING_PASSWORD: must have at least %d characters", minPassword)
	}
	if problem := clients.SecretProblem(c.Password); problem != "" && !c.Password.Empty() {
		return errors.New("MONITORING_PASSWORD: " + problem)
	}
	for _, r := range c.User {
		if r == ':' || r < ' ' || r == 0x7f {
			// HTTP Basic authentication ends the user at the first colon.
			return errors.New("MONITORING_USER: must not contain a colon or control characters")
		}
	}
	return nil
}

// Formatter renders a task's payload or result for the UI.
type Formatter func(taskType string, data []byte) string

// Parts are the parts of a worker that the handler shows.
type Parts struct {
	// Redis is a *redis.Client or *redis.ClusterClient. The handler never closes
	// it.
	Redis redis.UniversalClient
	// Metrics supplies /metrics.
	Metrics prometheus.Gatherer
	// Ready answers /readyz. A nil error means ready, and so does a nil Ready. Its
	// context ends after a few seconds. Its error is shown to anyone who can
	// connect, so it must not hold a secret.
	Ready func(context.Context) error
	// Payload and Result mask what tasks carry. Without them nothing of it is
	// shown.
	Payload, Result Formatter
	// Tasks does what the buttons of the web UI ask for. Without it they change asynq's
	// copies of the tasks only.
	Tasks Tasks
	// Schedules lists the schedules; nil for none.
	Schedules func(ctx context.Context) ([]Schedule, error)
	// Password returns the password of the login as it is now; nil for that of the Config.
	Password func() secret.String
	// Log takes a line for each change and each refused login.
	Log zerolog.Logger
	// Registry takes the counters of refused logins; nil for none.
	Registry prometheus.Registerer
}

// readyTimeout is shorter than the usual timeout of a container's health check.
const readyTimeout = 4 * time.Second

// New returns the handler of the admin HTTP.
func New(cfg Config, parts Parts) (http.Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ui, err := newUI(cfg, parts)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", index)
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /readyz", readyz(parts.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(parts.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle(uiRoot+"/", ui)
	return secureHeaders(mux), nil
}

const indexPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Errand worker</title></head><body>
<h1>Errand worker</h1>
<ul>
<li><a href="monitoring/">monitoring</a>: queues and tasks</li>
<li><a href="metrics">metrics</a>: for Prometheus</li>
<li><a href="readyz">readyz</a>: whether it can work</li>
<li><a href="healthz">healthz</a>: whether it runs</li>
</ul>
</body></html>
`

func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, indexPage)
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, "ok\n")
}

// readiness is the body of /readyz.
type readiness struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

func readyz(ready func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := readiness{Ready: true}
		status := http.StatusOK
		if ready != nil {
			ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
			defer cancel()
			if err := ready(ctx); err != nil {
				answer = readiness{Reason: err.Error()}
				status = http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	})
}
