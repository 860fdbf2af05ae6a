package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

// site is a worker between a real Redis and the vendors' sandboxes.
type site struct {
	admin    string
	redisURL string
	client   *tasks.Client
	otp      *danaconnecttest.Sandbox
	anna     *annatest.Sandbox
	log      *syncBuffer
	stop     func() error
}

func startSite(t testing.TB, change map[string]string) *site {
	t.Helper()
	s := &site{
		otp:  danaconnecttest.New(danaconnecttest.Options{}),
		anna: annatest.New(annatest.Options{}),
		log:  &syncBuffer{},
	}
	s.anna.PutUser("u-1", true)
	mux := http.NewServeMux()
	sandbox.Mount(mux, danaconnecttest.Mount, s.otp)
	sandbox.Mount(mux, "/anna/", s.anna)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	redis := redistest.New(t)
	environ := map[string]string{
		"REDIS_URL":            redis.URL(),
		"HTTP_ADDR":            "127.0.0.1:0",
		"DANACONNECT_OTP_URL":  web.URL + "/danaconnect/otp/1.0",
		"DANACONNECT_USERNAME": danaconnecttest.Username,
		"DANACONNECT_COMPANY":  danaconnecttest.Company,
		"DANACONNECT_PASSWORD": danaconnecttest.Password,
		"ANNA_URL":             web.URL + "/anna",
		"ANNA_COMPANY_HASH":    "sandbox-company",
		"ANNA_USER":            "sandbox-user",
		"ANNA_PASSWORD":        "sandbox-password",
	}
	maps.Copy(environ, change)
	s.redisURL = environ["REDIS_URL"]
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- app.Worker{Environ: environ, Stderr: s.log, Ready: func(addr string) { ready <- addr }}.Run(ctx)
	}()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = s.stop() })
	select {
	case s.admin = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	var err error
	if s.client, err = tasks.Open(environ["REDIS_URL"], tasks.EncryptionKeys(environ["ENCRYPTION_KEYS"])); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

func (s *site) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// completed is what the web UI lists of a queue, once a task is there: its
// outcome is written, and waited for, before asynq hears of it.
func (s *site) completed(t *testing.T, queue string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		code, list := s.get(t, "/monitoring/api/queues/"+queue+"/completed_tasks")
		if code != http.StatusOK {
			t.Fatalf("web UI: %d %s", code, list)
		}
		if !strings.Contains(list, `"completed":0`) {
			return list
		}
		if time.Now().After(deadline) {
			t.Fatalf("no task is completed: %s", list)
		}
	}
}

func otpFor(mail string) tasks.OTPSend {
	return tasks.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         tasks.Values{{Key: "COD1_EMAIL", Value: mail}},
	}
}

func run[R any](t testing.TB, s *site, task tasks.Task[R], opts ...tasks.Option) (R, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ticket, err := tasks.Enqueue(ctx, s.client, task, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ticket.Wait(ctx)
}

func TestWorkerEndToEnd(t *testing.T) {
	t.Parallel()
	s := startSite(t, nil)
	const canary = "canary.person@example.com"
	if _, err := run(t, s, otpFor(canary)); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, s, tasks.UserInactivate{UserID: "u-1"}); err != nil {
		t.Fatal(err)
	}
	if code, body := s.get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz %d %s", code, body)
	}
	if code, body := s.get(t, "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz %d %s", code, body)
	}
	_, metrics := s.get(t, "/metrics")
	for _, want := range []string{
		`errand_tasks_finished_total{outcome="done",type="danaconnect:otp:send"} 1`,
		`errand_task_attempts_total{class="done",type="anna:user:inactivate"} 1`,
		`errand_task_wait_seconds_count{type="danaconnect:otp:send"} 1`,
		`errand_vendor_requests_total{operation="otp send",status="200",vendor="danaconnect"} 1`,
		`errand_vendor_request_seconds_count{operation="user inactivate",vendor="anna"} 1`,
		`errand_token_fetches_total{profile="anna"`,
		`errand_queue_tasks{queue="otp",state="pending"} 0`,
		`errand_queue_latency_seconds{queue="dinero"} 0`,
		`errand_dead_letters{queue="anna"} 0`,
		`go_goroutines`, `process_resident_memory_bytes`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	list := s.completed(t, "otp")
	if !strings.Contains(list, "danaconnect:otp:send") || !strings.Contains(list, "COD1_EMAIL") {
		t.Errorf("web UI: %s", list)
	}
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	for where, text := range map[string]string{"web UI": list, "metrics": metrics, "log": s.log.String()} {
		if strings.Contains(text, "canary") || strings.Contains(text, danaconnecttest.Password) {
			t.Errorf("the %s shows what it must hide", where)
		}
	}
	if log := s.log.String(); !strings.Contains(log, `"outcome":"done"`) ||
		!strings.Contains(log, "worker has stopped") {
		t.Errorf("log: %s", log)
	}
}

func TestSettingsAreReportedAllAtOnce(t *testing.T) {
	t.Parallel()
	err := app.Worker{Stderr: io.Discard, Environ: map[string]string{
		"REDIS_URL":            "http://redis",
		"WORKER_QUEUES":        "otp=0",
		"SHUTDOWN_GRACE":       "10s",
		"LOG_FORMAT":           "xml",
		"LOG_LEVEL":            "loud",
		"ENCRYPTION_KEYS":      "nonsense-canary",
		"ENCRYPTION_REQUIRED":  "maybe",
		"MONITORING_USER":      "u",
		"DANACONNECT_USERNAME": "a:b",
		"DANACONNECT_TIMEOUT":  "soon",
		"ANNA_URL":             "http://anna.example",
		"DANACONNECT_RATE":     "fast",
		"ANNA_RATE":            "5/m/s",
		"ANNA_CONCURRENCY":     "0",
		"DCKAP_CONCURRENCY":    "-1",
		"DINERO_RATE":          "0/1m",
		"OTP_RECIPIENT_FIELDS": "COD1_EMAIL,,",
		"OTP_RECIPIENT_LIMIT":  "5",
	}}.Run(t.Context())
	if _, ok := errors.AsType[*app.ConfigError](err); !ok {
		t.Fatalf("err = %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	for _, variable := range []string{
		"REDIS_URL", "WORKER_QUEUES", "SHUTDOWN_GRACE", "LOG_FORMAT", "LOG_LEVEL", "ENCRYPTION_KEYS", "ENCRYPTION_REQUIRED", "MONITORING_PASSWORD",
		"DANACONNECT_USERNAME", "DANACONNECT_COMPANY", "DANACONNECT_PASSWORD", "DANACONNECT_TIMEOUT",
		"ANNA_URL", "ANNA_COMPANY_HASH", "ANNA_USER", "ANNA_PASSWORD",
		"DANACONNECT_RATE", "ANNA_RATE", "ANNA_CONCURRENCY", "DCKAP_CONCURRENCY", "DINERO_RATE", "OTP_RECIPIENT_FIELDS", "OTP_RECIPIENT_LIMIT",
	} {
		found := 0
		for _, line := range lines {
			if strings.HasPrefix(line, variable+":") {
				found++
			}
		}
		if found == 0 {
			t.Errorf("nothing is said about %s", variable)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error quotes a secret: %v", err)
	}
}

func TestAWorkerNeedsAVendor(t *testing.T) {
	t.Parallel()
	err := app.Worker{Stderr: io.Discard}.Run(t.Context())
	if _, ok := errors.AsType[*app.ConfigError](err); !ok ||
		!strings.Contains(err.Error(), "no vendor has credentials") {
		t.Errorf("err = %v", err)
	}
}

// A worker runs only the queues whose vendor it has credentials for.
func TestTasksWaitForAWorkerWithCredentials(t *testing.T) {
	t.Parallel()
	s := startSite(t, map[string]string{
		"ANNA_URL":          "",
		"ANNA_COMPANY_HASH": "",
		"ANNA_USER":         "",
		"ANNA_PASSWORD":     "",
	})
	ticket, err := tasks.Enqueue(t.Context(), s.client, tasks.UserInactivate{UserID: "u-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, s, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	status, err := s.client.Status(t.Context(), ticket.ID)
	if err != nil || status.State != "pending" || status.Attempts != 0 {
		t.Errorf("status = %+v, %v", status, err)
	}
}

func TestSealedAtRest(t *testing.T) {
	t.Parallel()
	keys := "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	s := startSite(t, map[string]string{"ENCRYPTION_KEYS": keys, "ENCRYPTION_REQUIRED": "true"})
	if sent, err := run(t, s, otpFor("a@example.com")); err != nil || sent.IDRequest == "" {
		t.Fatalf("sent = %+v, %v", sent, err)
	}
	if list := s.completed(t, "otp"); !strings.Contains(list, "[sealed]") || strings.Contains(list, "COD1_EMAIL") {
		t.Errorf("web UI: %s", list)
	}
}

func TestNothingOfTheSandboxIsLinkedIntoTheCommands(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "errand.internal/cmd/worker", "errand.internal/cmd/enqueue").
		Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		for _, bad := range []string{"sandbox", "miniredis", "internal/fleet", "internal/faults"} {
			if strings.Contains(pkg, bad) {
				t.Errorf("%s is linked", pkg)
			}
		}
		// The sandboxes, redistest, clientstest: whatever is for tests says so.
		if strings.HasPrefix(pkg, "errand.internal/") && strings.HasSuffix(pkg, "test") || pkg == "testing" {
			t.Errorf("%s is linked", pkg)
		}
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
