package main

import (
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/apptest"
	"errand.internal/internal/proctest"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dinero"
)

// childMark in the environment makes the test binary the worker command.
const childMark = "WORKER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMark) == "1" {
		main() // exits
	}
	// They wait for their workers most of the time, so more of them run at once than
	// there are cores.
	_ = flag.Set("test.parallel", "5")
	os.Exit(m.Run())
}

const (
	stopGrace = 7 * time.Second
	// stopLimit is what docs/guarantees.md promises, and a second for a loaded machine.
	stopLimit = stopGrace + 2*time.Second + time.Second
)

// stopRig is what a worker process runs between: a Redis behind a gateway, and vendors
// that do not answer.
type stopRig struct {
	t       *testing.T
	redis   *redistest.Server
	gateway *gateway
	client  *tasks.Client
	environ map[string]string

	mu     sync.Mutex
	called map[string]bool // paths of the vendors
}

// newStopRig has schedules and the admin HTTP. Its calls time out soon, so that the
// grace may be short.
func newStopRig(t *testing.T, settings map[string]string) *stopRig {
	t.Helper()
	f := apptest.New(t)
	r := &stopRig{
		t:      t,
		redis:  f.Redis,
		client: f.Client(t),
		called: map[string]bool{},
	}
	r.gateway = newGateway(t, f.Redis.Addr())
	vendors := httptest.NewServer(http.HandlerFunc(r.neverAnswer))
	t.Cleanup(vendors.Close)
	schedules := filepath.Join(t.TempDir(), "schedules.yaml")
	if err := os.WriteFile(schedules, []byte(`schedules:
  - name: often
    every: 1s
    type: dckap:dynamic:call
    payload: {listener: 64f1c0de0001, idempotent: true}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	r.environ = f.Sandboxes.Environ(vendors.URL)
	for _, vendor := range []string{"DANACONNECT", "ANNA", "DCKAP", "DINERO"} {
		r.environ[vendor+"_TIMEOUT"] = "2s"
	}
	r.environ["REDIS_URL"] = r.gateway.url()
	r.environ["HTTP_ADDR"] = "127.0.0.1:0"
	r.environ["SCHEDULE_FILE"] = schedules
	r.environ["SHUTDOWN_GRACE"] = stopGrace.String()
	for name, value := range settings {
		r.environ[name] = value
	}
	return r
}

func (r *stopRig) neverAnswer(_ http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.called[strings.SplitN(req.URL.Path, "/", 3)[1]] = true
	r.mu.Unlock()
	_, _ = io.Copy(io.Discard, req.Body) // only then the server notices that the client gives up
	<-req.Context().Done()
}

// startCalls enqueues a task that calls its vendor and one that logs in first, and waits
// until both vendors have been called.
func (r *stopRig) startCalls() {
	r.t.Helper()
	otp := danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "a@example.com"}},
	}
	if _, err := tasks.Enqueue(r.t.Context(), r.client, otp); err != nil {
		r.t.Fatal(err)
	}
	call := dinero.APICall{OrganizationID: dinerotest.Organization, Method: "GET", Path: "contacts"}
	if _, err := tasks.Enqueue(r.t.Context(), r.client, call); err != nil {
		r.t.Fatal(err)
	}
	testwait.Eventually(r.t, 20*time.Second, "both vendors are called", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.called["danaconnect"] && r.called["dinero"]
	})
}

// stoppable is a worker process.
type stoppable struct {
	*proctest.Process
	t   *testing.T
	log *processLog
}

func (r *stopRig) start() *stoppable {
	r.t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = []string{childMark + "=1"}
	for name, value := range r.environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	w := &stoppable{t: r.t, log: &processLog{}}
	cmd.Stdout, cmd.Stderr = w.log, w.log
	var err error
	if w.Process, err = proctest.Start(cmd); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = w.Kill()
		if r.t.Failed() {
			r.t.Log(w.log.String())
		}
	})
	return w
}

func (w *stoppable) waitLog(text string) {
	w.t.Helper()
	testwait.Eventually(w.t, 30*time.Second, "the log says "+text, func() bool {
		return strings.Contains(w.log.String(), text)
	})
}

func (w *stoppable) terminate() {
	w.t.Helper()
	if err := w.Terminate(); err != nil {
		w.t.Fatal(err)
	}
}

// expectEnd expects that the process ends in time.
func (w *stoppable) expectEnd(limit time.Duration, code int) {
	w.t.Helper()
	began := time.Now()
	if err := w.WaitOrKill(limit); err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("ended after %v", time.Since(began).Round(10*time.Millisecond))
	if got := w.State().ExitCode(); got != code {
		w.t.Errorf("ended with %v, want exit code %d", w.State(), code)
	}
}

// processLog is the output of a process.
type processLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// redisStates are states of Redis in which a worker has to end all the same.
var redisStates = []struct {
	name  string
	enter func(r *stopRig)
}{
	{"answering", func(*stopRig) {}},
	{"refused", func(r *stopRig) { r.gateway.turn(refusing) }},
	{"hanging", func(r *stopRig) { r.gateway.turn(hanging) }},
	{"closing", func(r *stopRig) { r.gateway.turn(closing) }},
	{"a TLS port", func(r *stopRig) { r.gateway.turn(alerting) }},
	{"refusing writes", func(r *stopRig) { r.configure("min-replicas-to-write", "1") }},
	{"refusing logins", func(r *stopRig) {
		r.configure("requirepass", "another")
		r.gateway.turn(closing)
		r.gateway.turn(passing)
	}},
}

func (r *stopRig) configure(name, value string) {
	r.t.Helper()
	if err := r.redis.Client().ConfigSet(r.t.Context(), name, value).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// A worker ends in time after SIGTERM, whatever becomes of Redis and whenever.
func TestStopInEveryStateOfRedis(t *testing.T) {
	t.Parallel()
	for _, state := range redisStates {
		for _, moment := range []struct {
			name string
			run  func(r *stopRig) *stoppable
		}{
			{"idle", func(r *stopRig) *stoppable {
				w := r.start()
				w.waitLog("worker is ready")
				state.enter(r)
				return w
			}},
			{"with calls in flight", func(r *stopRig) *stoppable {
				w := r.start()
				r.startCalls()
				state.enter(r)
				return w
			}},
			{"from the start", func(r *stopRig) *stoppable {
				state.enter(r)
				w := r.start()
				w.waitLog("worker is ready")
				return w
			}},
			{"while it starts", func(r *stopRig) *stoppable {
				state.enter(r)
				w := r.start()
				w.waitLog("ENCRYPTION_KEYS is not set") // the line before it connects
				return w
			}},
		} {
			t.Run(state.name+"/"+moment.name, func(t *testing.T) {
				t.Parallel()
				w := moment.run(newStopRig(t, nil))
				w.terminate()
				w.expectEnd(stopLimit, exitOK)
			})
		}
	}
}

// The same with a receiver of events, whose deliveries need a longer grace.
func TestStopWithEvents(t *testing.T) {
	t.Parallel()
	const grace = 20 * time.Second
	receiver := apptest.NewReceiver(t, http.StatusNoContent)
	for _, state := range redisStates {
		if state.name != "closing" && state.name != "hanging" {
			continue // the grace is long, and the others are no worse
		}
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			r := newStopRig(t, map[string]string{
				"EVENTS_URL":     receiver.URL,
				"EVENTS_SECRET":  apptest.EventsSecret,
				"SHUTDOWN_GRACE": grace.String(),
			})
			w := r.start()
			r.startCalls()
			state.enter(r)
			w.terminate()
			w.expectEnd(grace+stopLimit-stopGrace, exitOK)
		})
	}
}

// A second signal ends a worker at once, although it drains or has not started yet.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		run  func(r *stopRig) *stoppable
	}{
		{"while it drains", func(r *stopRig) *stoppable {
			w := r.start()
			r.startCalls()
			r.gateway.turn(hanging)
			w.terminate()
			w.waitLog("worker is stopping")
			return w
		}},
		{"while it starts", func(r *stopRig) *stoppable {
			r.gateway.turn(closing)
			w := r.start()
			w.waitLog("Redis does not answer") // it is about to be ready
			w.terminate()
			w.waitLog("worker is stopping")
			return w
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := tc.run(newStopRig(t, nil))
			w.terminate()
			w.expectEnd(2*time.Second, 143)
		})
	}
}
