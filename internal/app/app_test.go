package app_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/internal/config"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// listed is the web UI's list of the tasks of a queue in a state, once there is one.
func listed(t *testing.T, w *apptest.Worker, queue, state string) string {
	t.Helper()
	var list string
	testwait.Eventually(t, testwait.Limit, "a "+state+" task in the web UI", func() bool {
		var status int
		status, list = w.Get(t, "/monitoring/api/queues/"+queue+"/"+state+"_tasks")
		if status != http.StatusOK {
			t.Fatalf("web UI: %d %s", status, list)
		}
		return !strings.Contains(list, `"`+state+`":0`)
	})
	return list
}

func TestWorkerEndToEnd(t *testing.T) {
	t.Parallel()
	w := newFixture(t).Start(t)
	const canary = "canary.person@example.com"
	if _, err := apptest.Run(t, w, otpFor(canary)); err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Run(t, w, listContacts); err != nil {
		t.Fatal(err)
	}
	if code, body := w.Get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz %d %s", code, body)
	}
	if code, body := w.Get(t, "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz %d %s", code, body)
	}
	_, metrics := w.Get(t, "/metrics")
	for _, want := range []string{
		`errand_tasks_finished_total{outcome="done",type="danaconnect:otp:send"} 1`,
		`errand_task_attempts_total{class="done",type="dinero:api:call"} 1`,
		`errand_task_wait_seconds_count{type="danaconnect:otp:send"} 1`,
		`errand_vendor_requests_total{operation="otp send",status="200",vendor="danaconnect"} 1`,
		`errand_vendor_request_seconds_count{operation="api call",vendor="dinero"} 1`,
		`errand_token_fetches_total{profile="dinero-123456"`,
		`errand_queue_tasks{queue="otp",state="pending"} 0`,
		`errand_queue_latency_seconds{queue="dckap"} 0`,
		`errand_dead_letters{queue="dinero"} 0`,
		`go_goroutines`, `process_resident_memory_bytes`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	if _, err := tasks.Enqueue(t.Context(), w.Client, otpFor(canary), tasks.In(time.Hour)); err != nil {
		t.Fatal(err)
	}
	list := listed(t, w, "otp", "scheduled")
	if !strings.Contains(list, "danaconnect:otp:send") || !strings.Contains(list, "COD1_EMAIL") {
		t.Errorf("web UI: %s", list)
	}
	ended := listed(t, w, "otp", "completed")
	if !strings.Contains(ended, "danaconnect:otp:send") || !strings.Contains(ended, "[not kept]") {
		t.Errorf("web UI, of a task that ended well: %s", ended)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	for where, text := range map[string]string{"web UI": list + ended, "metrics": metrics, "log": w.Log.String()} {
		if strings.Contains(text, "canary") || strings.Contains(text, danaconnecttest.Password) {
			t.Errorf("the %s shows what it must hide", where)
		}
	}
	if log := w.Log.String(); !strings.Contains(log, `"outcome":"done"`) ||
		!strings.Contains(log, "worker has stopped") {
		t.Errorf("log: %s", log)
	}
}

func TestAllWrongSettingsAreReported(t *testing.T) {
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
		"DCKAP_URL":            "http://dckap.example",
		"DCKAP_TOKEN":          "canary",
		"DINERO_CLIENT_ID":     "c",
		"DANACONNECT_RATE":     "fast",
		"DCKAP_RATE":           "5/m/s",
		"DCKAP_CONCURRENCY":    "-1",
		"DINERO_CONCURRENCY":   "0",
		"DINERO_RATE":          "0/1m",
		"OTP_RECIPIENT_FIELDS": "COD1_EMAIL,,",
		"OTP_RECIPIENT_LIMIT":  "5",
	}}.Run(t.Context())
	if _, ok := errors.AsType[*config.Error](err); !ok {
		t.Fatalf("err = %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	for _, variable := range []string{
		"REDIS_URL",
		"WORKER_QUEUES",
		"SHUTDOWN_GRACE",
		"LOG_FORMAT",
		"LOG_LEVEL",
		"ENCRYPTION_KEYS",
		"ENCRYPTION_REQUIRED",
		"MONITORING_PASSWORD",
		"DANACONNECT_USERNAME",
		"DANACONNECT_COMPANY",
		"DANACONNECT_PASSWORD",
		"DANACONNECT_TIMEOUT",
		"DCKAP_URL",
		"DINERO_CLIENT_SECRET",
		"DINERO_API_KEYS",
		"DANACONNECT_RATE",
		"DCKAP_RATE",
		"DCKAP_CONCURRENCY",
		"DINERO_CONCURRENCY",
		"DINERO_RATE",
		"OTP_RECIPIENT_FIELDS",
		"OTP_RECIPIENT_LIMIT",
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

func TestWorkerNeedsAVendor(t *testing.T) {
	t.Parallel()
	err := app.Worker{Stderr: io.Discard}.Run(t.Context())
	if _, ok := errors.AsType[*config.Error](err); !ok ||
		!strings.Contains(err.Error(), "no vendor has credentials") {
		t.Errorf("err = %v", err)
	}
}

// A worker runs only the queues whose vendor it has credentials for.
func TestTasksWaitForAWorkerWithCredentials(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Remove("DINERO_")
	w := f.Start(t)
	ticket, err := tasks.Enqueue(t.Context(), w.Client, listContacts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Run(t, w, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	status, err := w.Client.Status(t.Context(), ticket.ID)
	if err != nil || status.State != "pending" || status.Attempts != 0 {
		t.Errorf("status = %+v, %v", status, err)
	}
}

func TestSealedAtRest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Environ["ENCRYPTION_KEYS"] = apptest.EncryptionKeys
	f.Environ["ENCRYPTION_REQUIRED"] = "true"
	w := f.Start(t)
	if sent, err := apptest.Run(t, w, otpFor("a@example.com")); err != nil || sent.IDRequest == "" {
		t.Fatalf("sent = %+v, %v", sent, err)
	}
	if _, err := tasks.Enqueue(t.Context(), w.Client, otpFor("a@example.com"), tasks.In(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if list := listed(t, w, "otp", "scheduled"); !strings.Contains(list, "[sealed]") || strings.Contains(list, "COD1_EMAIL") {
		t.Errorf("web UI: %s", list)
	}
}

func TestNothingOfTheSandboxIsLinkedIntoTheCommands(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "errand.internal/cmd/worker", "errand.internal/cmd/enqueue").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		for _, bad := range []string{"sandbox", "miniredis", "internal/fleet", "internal/faults", "demo"} {
			if strings.Contains(pkg, bad) {
				t.Errorf("%s is linked", pkg)
			}
		}
		// The names of packages for tests (sandboxes, redistest, clientstest) end with test.
		if strings.HasPrefix(pkg, "errand.internal/") && strings.HasSuffix(pkg, "test") || pkg == "testing" {
			t.Errorf("%s is linked", pkg)
		}
	}
}

// A worker is gone in time also if a part of it hangs that no Redis and no vendor wakes.
func TestAWorkerLeavesBehindWhatHangs(t *testing.T) {
	t.Parallel()
	const grace = 6 * time.Second
	environ := map[string]string{"SHUTDOWN_GRACE": grace.String()}
	for _, vendor := range []string{"DANACONNECT", "ANNA", "DCKAP", "DINERO"} {
		environ[vendor+"_TIMEOUT"] = "1s"
	}
	log := apptest.NewLog()
	ready, hangs := make(chan struct{}), make(chan struct{})
	worker := app.Worker{
		Environ: newFixture(t).With(environ),
		Stderr:  log,
		Ready: func(string) {
			close(ready)
			<-hangs
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(grace + 3*time.Second): // docs/guarantees.md promises 2, and the machine may be loaded
		t.Error("it has not ended")
	}
	close(hangs)
	log.Wait(t, "worker has stopped") // what was left behind
}
