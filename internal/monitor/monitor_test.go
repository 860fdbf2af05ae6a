package monitor_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/monitor"
	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
)

// canary is a phone number in the payload.
const canary = "+4512345678"

func masked(taskType string, data []byte) string {
	if !strings.Contains(string(data), canary) {
		return "unexpected data"
	}
	return `{"phone":"` + taskType + ` masked"}`
}

// start serves a handler over HTTP, with one task in the queue "otp".
func start(t *testing.T, cfg monitor.Config, change func(*monitor.Parts)) (base string, client redis.UniversalClient) {
	t.Helper()
	s := redistest.New(t)
	task := asynq.NewTask("danaconnect:otp:send", []byte(`{"phone":"`+canary+`"}`))
	producer := asynq.NewClientFromRedisClient(s.Client())
	if _, err := producer.Enqueue(task, asynq.Queue("otp"), asynq.TaskID("otp-1")); err != nil {
		t.Fatal(err)
	}
	parts := monitor.Parts{
		Redis:   s.Client(),
		Metrics: prometheus.NewRegistry(),
		Payload: masked,
		Result:  masked,
	}
	if change != nil {
		change(&parts)
	}
	h, err := monitor.New(cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL, s.Client()
}

type request struct {
	method, path, host string
	header             map[string]string
	body               string
}

// answer is a response without its body.
type answer struct {
	StatusCode int
	Header     http.Header
}

func (r request) do(t *testing.T, base string) (answer, string) {
	t.Helper()
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, base+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = r.host
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, string(body)
}

func login(user, password string) map[string]string {
	return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func TestPages(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "errand_test_total"})
	registry.MustRegister(counter)
	counter.Inc()
	base, _ := start(t, monitor.Config{ReadOnly: true}, func(p *monitor.Parts) { p.Metrics = registry })
	tests := []struct {
		name, path, kind, want string
		status                 int
	}{
		{
			name:   "index",
			path:   "/",
			status: 200,
			kind:   "text/html",
			want:   `href="monitoring/"`,
		},
		{
			name:   "healthz",
			path:   "/healthz",
			status: 200,
			kind:   "text/plain",
			want:   "ok\n",
		},
		{
			name:   "readyz",
			path:   "/readyz",
			status: 200,
			kind:   "application/json",
			want:   `{"ready":true}` + "\n",
		},
		{
			name:   "metrics",
			path:   "/metrics",
			status: 200,
			kind:   "text/plain",
			want:   "errand_test_total 1",
		},
		{
			name:   "nothing else",
			path:   "/debug/pprof/",
			status: 404,
			want:   "not found",
		},
		{
			name:   "monitoring without slash",
			path:   "/monitoring",
			status: 307,
			want:   "/monitoring/",
		},
		{
			name:   "monitoring",
			path:   "/monitoring/",
			status: 200,
			kind:   "text/html",
			want:   `window.FLAG_ROOT_PATH="\/monitoring"`,
		},
		{
			name:   "deep link",
			path:   "/monitoring/queues/otp",
			status: 200,
			kind:   "text/html",
			want:   `<div id="root">`,
		},
		{
			name:   "deep link like a file",
			path:   "/monitoring/queues/a.json",
			status: 200,
			kind:   "text/html",
			want:   `<div id="root">`,
		},
		{
			name:   "script",
			path:   "/monitoring/static/js/main.5adda2da.chunk.js",
			status: 200,
			kind:   "application/javascript",
			want:   "webpackJsonp",
		},
		{
			name:   "logo",
			path:   "/monitoring/static/media/logo-white.3fa2ac55.svg",
			status: 200,
			kind:   "image/svg+xml",
			want:   "<svg",
		},
		{
			name:   "manifest",
			path:   "/monitoring/manifest.json",
			status: 200,
			kind:   "application/json",
			want:   "{",
		},
		{
			name:   "queues",
			path:   "/monitoring/api/queues",
			status: 200,
			kind:   "application/json",
			want:   `"queue":"otp"`,
		},
		{
			name:   "redis",
			path:   "/monitoring/api/redis_info",
			status: 200,
			kind:   "application/json",
			want:   `"redis_version"`,
		},
		{
			name:   "task",
			path:   "/monitoring/api/queues/otp/tasks/otp-1",
			status: 200,
			kind:   "application/json",
			want:   `danaconnect:otp:send masked`,
		},
		{
			name:   "asynqmon's prometheus",
			path:   "/monitoring/api/metrics",
			status: 404,
			want:   "/metrics",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := request{path: tt.path}.do(t, base)
			if resp.StatusCode != tt.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), tt.kind) ||
				!strings.Contains(body, tt.want) {
				t.Errorf(
					"%d %q, want %d %q with %q:\n%.300s",
					resp.StatusCode,
					resp.Header.Get("Content-Type"),
					tt.status,
					tt.kind,
					tt.want,
					body,
				)
			}
			if strings.Contains(body, canary) {
				t.Error("the page shows the payload")
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			} {
				if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := resp.Header.Values("Content-Security-Policy"); len(got) != 1 ||
				!strings.Contains(got[0], "default-src 'none'") ||
				strings.Contains(got[0], "script-src 'self' 'unsafe") {
				t.Errorf("Content-Security-Policy: %q", got)
			}
			if api := strings.Contains(tt.path, "/api/"); api && resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control: %q", resp.Header.Get("Cache-Control"))
			}
		})
	}
}

func TestPayloadIsHiddenWithoutAFormatter(t *testing.T) {
	t.Parallel()
	base, _ := start(t, monitor.Config{ReadOnly: true}, func(p *monitor.Parts) { p.Payload, p.Result = nil, nil })
	resp, body := request{path: "/monitoring/api/queues/otp/pending_tasks"}.do(t, base)
	if resp.StatusCode != http.StatusOK || strings.Contains(body, canary) || !strings.Contains(body, secret.Redacted) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		ready  func(context.Context) error
		status int
		want   map[string]any
	}{
		{
			name:   "ready",
			ready:  func(context.Context) error { return nil },
			status: 200,
			want:   map[string]any{"ready": true},
		},
		{
			name:   "not ready",
			ready:  func(context.Context) error { return errors.New("redis:\n\"gone\"") },
			status: 503,
			want:   map[string]any{"ready": false, "reason": "redis:\n\"gone\""},
		},
		{
			name: "bounded",
			ready: func(ctx context.Context) error {
				if d, ok := ctx.Deadline(); !ok || time.Until(d) > 5*time.Second {
					return errors.New("no deadline")
				}
				return nil
			},
			status: 200,
			want:   map[string]any{"ready": true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, _ := start(t, monitor.Config{}, func(p *monitor.Parts) { p.Ready = tt.ready })
			resp, body := request{path: "/readyz"}.do(t, base)
			var got map[string]any
			if err := json.Unmarshal([]byte(body), &got); err != nil || strings.Count(body, "\n") != 1 {
				t.Errorf("not one line of JSON: %q (%v)", body, err)
			}
			if resp.StatusCode != tt.status || got["ready"] != tt.want["ready"] || got["reason"] != tt.want["reason"] {
				t.Errorf("%d %v, want %d %v", resp.StatusCode, got, tt.status, tt.want)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	cfg := monitor.Config{User: "ops", Password: secret.New("pä:ss and more"), ReadOnly: true}
	tests := []struct {
		name   string
		header map[string]string
		host   string
		status int
	}{
		{name: "right", header: login("ops", "pä:ss and more"), status: 200},
		{
			name:   "right, from elsewhere",
			header: login("ops", "pä:ss and more"),
			host:   "errand.example:8080",
			status: 200,
		},
		{name: "none, on loopback", status: 401},
		{name: "wrong password", header: login("ops", "other"), status: 401},
		{name: "wrong user", header: login("root", "pä:ss and more"), status: 401},
		{name: "beginning of the password", header: login("ops", "pä:ss"), status: 401},
		{name: "empty", header: login("", ""), status: 401},
		{name: "no basic", header: map[string]string{"Authorization": "Bearer ops"}, status: 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, _ := start(t, cfg, nil) // of its own: failed logins are slowed
			for _, path := range []string{
				"/monitoring/",
				"/monitoring/api/queues",
				"/monitoring/api/metrics",
				"/monitoring/static/js/main.5adda2da.chunk.js",
			} {
				resp, body := request{path: path, header: tt.header, host: tt.host}.do(t, base)
				want := tt.status
				if want == 200 && path == "/monitoring/api/metrics" {
					want = 404
				}
				if resp.StatusCode != want {
					t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
				}
				challenge := resp.Header.Get("WWW-Authenticate")
				if (tt.status == 401) != strings.HasPrefix(challenge, `Basic realm="`) {
					t.Errorf("%s: WWW-Authenticate %q", path, challenge)
				}
				if tt.status == 401 && (strings.Contains(body, "otp") || strings.Contains(body, "pä:ss and more")) {
					t.Errorf("%s: the refusal reveals too much: %s", path, body)
				}
			}
			for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
				resp, _ := request{path: path, header: tt.header, host: tt.host}.do(t, base)
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s requires a login: %d", path, resp.StatusCode)
				}
			}
		})
	}
}

func TestWithoutLoginOnlyThisHostIsServed(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	h, err := monitor.New(
		monitor.Config{ReadOnly: true},
		monitor.Parts{Redis: s.Client(), Metrics: prometheus.NewRegistry()},
	)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, client, host string
		header             string
		allowed            bool
	}{
		{
			name:    "ipv4",
			client:  "127.0.0.1:5000",
			host:    "127.0.0.1:8080",
			allowed: true,
		},
		{
			name:    "localhost",
			client:  "127.0.0.1:5000",
			host:    "LocalHost:9999",
			allowed: true,
		},
		{
			name:    "without port",
			client:  "127.0.0.1:5000",
			host:    "localhost",
			allowed: true,
		},
		{
			name:    "ipv6",
			client:  "[::1]:5000",
			host:    "[::1]:8080",
			allowed: true,
		},
		{
			name:    "ipv6 without port",
			client:  "[::1]:5000",
			host:    "[::1]",
			allowed: true,
		},
		{
			name:    "ipv4 in ipv6",
			client:  "[::ffff:127.0.0.1]:5000",
			host:    "localhost:8080",
			allowed: true,
		},
		{name: "other client", client: "192.0.2.7:5000", host: "localhost:8080"},
		{name: "other ipv6 client", client: "[2001:db8::1]:5000", host: "[::1]:8080"},
		{name: "rebound name", client: "127.0.0.1:5000", host: "attacker.example:8080"},
		{name: "name that begins like loopback", client: "127.0.0.1:5000", host: "127.0.0.1.attacker.example"},
		{name: "name that ends like loopback", client: "127.0.0.1:5000", host: "attacker.localhost"},
		{name: "own address", client: "127.0.0.1:5000", host: "192.0.2.7:8080"},
		{name: "any address", client: "127.0.0.1:5000", host: "0.0.0.0:8080"},
		{name: "no host", client: "127.0.0.1:5000", host: ""},
		{
			name:   "x-forwarded-for",
			client: "127.0.0.1:5000",
			host:   "localhost",
			header: "X-Forwarded-For",
		},
		{
			name:   "x-forwarded-host",
			client: "127.0.0.1:5000",
			host:   "localhost",
			header: "X-Forwarded-Host",
		},
		{
			name:   "x-forwarded-proto",
			client: "127.0.0.1:5000",
			host:   "localhost",
			header: "x-forwarded-proto",
		},
		{
			name:   "forwarded",
			client: "127.0.0.1:5000",
			host:   "localhost",
			header: "Forwarded",
		},
		{
			name:   "x-real-ip",
			client: "127.0.0.1:5000",
			host:   "localhost",
			header: "X-Real-IP",
		},
		{
			name:   "forwarded loopback is not trusted",
			client: "192.0.2.7:5000",
			host:   "localhost",
			header: "X-Forwarded-For",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"/monitoring/", "/monitoring/api/queues"} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
				r.RemoteAddr, r.Host = tt.client, tt.host
				if tt.header != "" {
					r.Header.Set(tt.header, "127.0.0.1")
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				want := http.StatusForbidden
				if tt.allowed {
					want = http.StatusOK
				}
				if w.Code != want {
					t.Errorf("%s: %d, want %d", path, w.Code, want)
				}
				body := w.Body.String()
				if !tt.allowed &&
					(strings.Count(body, "\n") != 1 || !strings.Contains(body, "MONITORING_USER and MONITORING_PASSWORD")) {
					t.Errorf("%s: the refusal is %q, want one line with the two variables", path, body)
				}
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	base, client := start(t, monitor.Config{ReadOnly: true}, nil)
	for _, r := range []request{
		{method: "POST", path: "/monitoring/api/queues/otp:pause"},
		{method: "DELETE", path: "/monitoring/api/queues/otp/pending_tasks/otp-1"},
		{method: "POST", path: "/monitoring/api/queues/otp/pending_tasks:batch_delete", body: `{"task_ids":["otp-1"]}`},
		{method: "PUT", path: "/monitoring/"},
	} {
		resp, body := r.do(t, base)
		if resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(body, "MONITORING_READ_ONLY") {
			t.Errorf("%s %s: %d %s", r.method, r.path, resp.StatusCode, body)
		}
	}
	info, err := asynq.NewInspectorFromRedisClient(client).GetQueueInfo("otp")
	if err != nil || info.Paused || info.Pending != 1 {
		t.Errorf("the queue changed: %+v (%v)", info, err)
	}
}

func TestCrossSiteChangesAreRefused(t *testing.T) {
	t.Parallel()
	base, client := start(t, monitor.Config{}, nil)
	inspector := asynq.NewInspectorFromRedisClient(client)
	pause := request{method: "POST", path: "/monitoring/api/queues/otp:pause"}
	for name, header := range map[string]map[string]string{
		"origin":    {"Origin": "https://attacker.example"},
		"null":      {"Origin": "null"},
		"cross":     {"Sec-Fetch-Site": "cross-site"},
		"same-site": {"Sec-Fetch-Site": "same-site"},
	} {
		pause.header = header
		if resp, _ := pause.do(t, base); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", name, resp.StatusCode)
		}
	}
	if info, err := inspector.GetQueueInfo("otp"); err != nil || info.Paused {
		t.Fatalf("another site paused the queue: %+v (%v)", info, err)
	}
	pause.header = map[string]string{"Origin": base, "Sec-Fetch-Site": "same-origin"}
	if resp, body := pause.do(t, base); resp.StatusCode != http.StatusNoContent {
		t.Errorf("own page: %d %s", resp.StatusCode, body)
	}
	if info, err := inspector.GetQueueInfo("otp"); err != nil || !info.Paused {
		t.Errorf("the queue is not paused: %+v (%v)", info, err)
	}
	long := request{
		method: "POST",
		path:   "/monitoring/api/queues/otp/pending_tasks:batch_delete",
		body:   `{"task_ids":["` + strings.Repeat("x", 2<<20) + `"]}`,
	}
	if resp, _ := long.do(t, base); resp.StatusCode < 400 {
		t.Errorf("a body of 2 MiB: %d", resp.StatusCode)
	}
}

func TestSharedClientStaysOpen(t *testing.T) {
	t.Parallel()
	base, client := start(t, monitor.Config{}, nil)
	request{path: "/monitoring/api/queues"}.do(t, base)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("ping after a page was served: %v", err)
	}
}

func TestClusterIsShown(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3)
	producer := asynq.NewClientFromRedisClient(c.Client())
	if _, err := producer.Enqueue(asynq.NewTask("a", nil), asynq.Queue("anna")); err != nil {
		t.Fatal(err)
	}
	base, _ := start(t, monitor.Config{}, func(p *monitor.Parts) { p.Redis = c.Client() })
	for path, want := range map[string]string{
		"/monitoring/api/queues":     `"queue":"anna"`,
		"/monitoring/api/redis_info": `"cluster":true`,
	} {
		if resp, body := (request{path: path}).do(t, base); resp.StatusCode != http.StatusOK ||
			!strings.Contains(body, want) {
			t.Errorf("%s: %d %.300s", path, resp.StatusCode, body)
		}
	}
}

func TestInvalidConfigIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  monitor.Config
		want string
	}{
		{
			name: "password alone",
			cfg:  monitor.Config{Password: secret.New("hunter2hunter2")},
			want: "MONITORING_USER: must be set",
		},
		{name: "user alone", cfg: monitor.Config{User: "ops"}, want: "MONITORING_PASSWORD: must be set"},
		{
			name: "short password",
			cfg:  monitor.Config{User: "ops", Password: secret.New("hunter2ääää")},
			want: "MONITORING_PASSWORD: must have at least 12 characters",
		},
		{
			name: "colon",
			cfg:  monitor.Config{User: "o:ps", Password: secret.New("hunter2hunter2")},
			want: "MONITORING_USER: must not contain",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := monitor.New(tt.cfg, monitor.Parts{})
			if err == nil || h != nil || !strings.HasPrefix(err.Error(), tt.want) ||
				strings.Contains(err.Error(), "hunter2") {
				t.Errorf("New = %v, want %q", err, tt.want)
			}
		})
	}
}
