package doctor_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/internal/doctor"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

func TestDoctorFindsAllWell(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.AOF("everysec"))
	r := runDoctor(t, f.Environ)
	if !r.ok {
		t.Errorf("not ok:\n%s", r.text)
	}
	for _, want := range [][3]string{
		{"ok", "settings", "complete and valid"},
		{"ok", "encryption keys", "k1 seals"},
		{"ok", "redis", "answers (redis://127.0.0.1:"},
		{"ok", "redis eviction", "noeviction"},
		{"ok", "redis persistence", "append-only file, appendfsync everysec"},
		{"ok", "queues", "runs danaconnect=5, dckap=10, dinero=5, otp=20; left to other workers: "},
		{"ok", "workers", "none is live"},
		{"ok", "danaconnect DANACONNECT_OTP_URL connection", "connected in"},
		{"ok", "danaconnect DANACONNECT_CONTACTS_URL connection", "connected in"},
		{"warn", "danaconnect credential danaconnect-otp", "unproven"},
		{"ok", "dckap dns", "127.0.0.1 is an address"},
		{"ok", "dckap connection", "connected in"},
		{"warn", "dckap credential", "unproven"},
		{"ok", "dinero DINERO_API_URL connection", "connected in"},
		{"ok", "dinero credential dinero-123456", "logged in, valid for "},
	} {
		r.want(t, want[0], want[1], want[2])
	}
	runDoctor(t, f.Environ).want(t, "ok", "dinero credential dinero-123456", "the fleet has a token, valid for ")
	if n := f.logins(); n != 1 {
		t.Errorf("two runs logged in %d times", n)
	}
}

// The doctor knows what the workers have found out.
func TestDoctorSeesTheFleet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.Start(t)
	if _, err := apptest.Run(t, w, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	r := runDoctor(t, f.Environ)
	r.want(t, "ok", "danaconnect credential danaconnect-otp", "proven: a call with it was accepted")
	r.want(t, "ok", "workers", "1 live; queues run: danaconnect by 1, dckap by 1, dinero by 1, otp by 1")
	if strings.Contains(r.text, "queue otp") {
		t.Errorf("a queue that is run is reported:\n%s", r.text)
	}
}

func TestDoctorRespectsARefusal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	environ := f.With(map[string]string{"DINERO_CLIENT_SECRET": "wrong-canary"})
	r := runDoctor(t, environ)
	const name = "dinero credential dinero-123456"
	const fix = "correct DINERO_CLIENT_ID, DINERO_CLIENT_SECRET or DINERO_API_KEYS and restart the workers, " +
		"unless the secret is in a file (X_FILE); or, once the account is unlocked at the vendor: worker credentials clear dinero-123456"
	r.want(t, "FAIL", name, "was refused (the token request was answered with ", fix)
	second := runDoctor(t, environ)
	second.want(t, "FAIL", name, "refused once (the token request was answered with ", fix)
	if n := f.logins(); r.ok || second.ok || n != 1 {
		t.Errorf("%d logins with a secret that is known to be wrong", n)
	}
	if strings.Contains(r.text+second.text, "canary") {
		t.Error("the secret shows")
	}

	text, err := app.ClearCoolDown(t.Context(), environ, "dinero-123456")
	if err != nil || !strings.Contains(text, "dinero-123456: refused once (") || !strings.Contains(text, "; cleared: ") {
		t.Errorf("clear: %q, %v", text, err)
	}
	if text, err = app.ClearCoolDown(t.Context(), environ, "dinero-123456"); err != nil ||
		!strings.Contains(text, "nothing to clear") {
		t.Errorf("clear again: %q, %v", text, err)
	}
	runDoctor(t, environ).want(t, "FAIL", name, "was refused")
	if n := f.logins(); n != 2 {
		t.Errorf("%d logins after the cool-down was cleared", n)
	}
	// The right secret is another credential, without refusals.
	runDoctor(t, f.Environ).want(t, "ok", name, "logged in")
}

func TestDoctorWithABrokenRedis(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		opts   []redistest.Option
		breaks func(*redistest.Server)
		url    func(*redistest.Server) string
		seen   string
		fix    string
	}{
		{
			name:   "stopped",
			breaks: (*redistest.Server).Stop,
			seen:   "connection refused (redis://127.0.0.1:",
			fix:    "start Redis",
		},
		{
			name:   "frozen",
			breaks: (*redistest.Server).Pause,
			seen:   "no answer in time",
			fix:    "check that Redis runs",
		},
		{
			name: "wrong password",
			opts: []redistest.Option{redistest.Password("right-canary")},
			url:  func(s *redistest.Server) string { return "redis://:wrong-canary@" + s.Addr() },
			seen: "the login is refused (redis://:[redacted]@127.0.0.1:",
			fix:  "correct the user and the password in REDIS_URL",
		},
		{name: "wrong address", url: func(*redistest.Server) string { return "canary" }, seen: "not checked: REDIS_URL is wrong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, tc.opts...)
			if tc.breaks != nil {
				tc.breaks(f.Redis)
			}
			if tc.url != nil {
				f.Environ["REDIS_URL"] = tc.url(f.Redis)
			}
			r := runDoctor(t, f.Environ)
			level := "FAIL"
			if tc.fix == "" {
				level = "warn"
			}
			r.want(t, level, "redis", tc.seen, tc.fix)
			r.want(t, "warn", "workers", "not checked: Redis does not answer")
			r.want(t, "ok", "queues", "runs danaconnect=5")
			r.want(t, "ok", "dckap connection", "connected in")
			r.want(t, "warn", "dinero credential", "not checked: Redis does not answer")
			if n := f.logins(); r.ok || n != 0 || strings.Contains(r.text, "canary") {
				t.Errorf("ok %t, %d logins\n%s", r.ok, n, r.text)
			}
		})
	}
}

func TestDoctorWithACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.NewCluster(t, 3)
	f := newFixture(t)
	r := runDoctor(t, f.With(map[string]string{"REDIS_URL": cluster.URL()}))
	r.want(t, "ok", "redis", "3 masters answer (redis-cluster://")
	r.want(t, "ok", "redis eviction", "noeviction")
	r.want(t, "ok", "workers", "none is live")
	r.want(t, "ok", "dinero credential dinero-123456", "logged in")
}

func TestDoctorWithBrokenSettings(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	r := runDoctor(t, f.With(map[string]string{
		"LOG_LEVEL":            "loud",
		"ENCRYPTION_KEYS":      "canary-key",
		"DANACONNECT_USERNAME": "",
		"SHUTDOWN_GRACE":       "1s",
	}))
	for _, want := range [][3]string{
		{"FAIL", "settings", "LOG_LEVEL must be debug, info, warn or error"},
		{"FAIL", "settings", "ENCRYPTION_KEYS entry 1:"},
		{"FAIL", "settings", "DANACONNECT_USERNAME is not set"},
		{"FAIL", "settings", "SHUTDOWN_GRACE is 1s and must be at least 20s"},
		{"warn", "encryption keys", "not checked"},
		{"FAIL", "redis eviction", "maxmemory-policy is allkeys-lru"},
		{"ok", "queues", "runs dckap=10, dinero=5; left to other workers:"},
		{"ok", "danaconnect DANACONNECT_OTP_URL connection", "connected in"},
		{"warn", "danaconnect credential", "not checked: its settings are wrong"},
		{"warn", "dinero credential dinero-123456", "not checked: ENCRYPTION_KEYS is wrong"},
	} {
		r.want(t, want[0], want[1], want[2])
	}
	// A token would have been stored unsealed.
	if n := f.logins(); n != 0 || r.ok || strings.Contains(r.text, "canary") {
		t.Errorf("ok %t, %d logins\n%s", r.ok, n, r.text)
	}
}

func TestDoctorWithoutSettings(t *testing.T) {
	t.Parallel()
	r := runDoctor(t, map[string]string{"REDIS_URL": redistest.New(t).URL()})
	r.want(t, "FAIL", "settings", "no vendor has credentials")
	r.want(t, "warn", "encryption keys", "none", "set ENCRYPTION_KEYS=k1:")
	r.want(t, "FAIL", "queues", "would run none", "name queues in WORKER_QUEUES")
	r.want(t, "ok", "danaconnect", "not configured")
	r.want(t, "ok", "dinero", "not configured")
}

func TestDoctorFindsTheWrongKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	runDoctor(t, f.Environ).want(t, "ok", "dinero credential dinero-123456", "logged in")
	runDoctor(
		t,
		f.With(map[string]string{"ENCRYPTION_KEYS": apptest.OtherEncryptionKeys + "," + apptest.EncryptionKeys}),
	).want(t, "ok", "encryption keys", "k2 seals; k1 only for what was sealed before")
	r := runDoctor(t, f.With(map[string]string{"ENCRYPTION_KEYS": apptest.OtherEncryptionKeys}))
	r.want(
		t,
		"FAIL",
		"dinero credential dinero-123456",
		"the fleet's token cannot be opened",
		"set ENCRYPTION_KEYS to the keys of the other workers",
	)
}

func TestDoctorFindsQueuesThatNoWorkerRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := f.Client(t)
	for range 2 {
		if _, err := tasks.Enqueue(t.Context(), client, listContacts); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tasks.Enqueue(t.Context(), client, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: f.Redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("old:task", nil), asynq.Queue("old")); err != nil {
		t.Fatal(err)
	}
	if err := asynq.NewInspectorFromRedisClient(rdb).PauseQueue("otp"); err != nil {
		t.Fatal(err)
	}
	r := runDoctor(t, f.Environ)
	r.want(
		t,
		"warn",
		"queue dinero",
		"no live worker runs it; tasks: 2 waiting, the oldest for ",
		"start a worker with these settings",
	)
	r.want(t, "warn", "queue otp", "paused; tasks: 1 waiting", "worker resume otp")
	r.want(t, "warn", "queue old", "no live worker runs it; tasks: 1 waiting", "this version of Errand has no such queue")
	f.Remove("DINERO_")
	r = runDoctor(t, f.Environ)
	r.want(
		t,
		"warn",
		"queue dinero",
		"no live worker runs it",
		"start a worker with dinero in WORKER_QUEUES and its vendor's credentials",
	)
}

// A paused account is shown, with how to resume it, and the doctor does not log in to it.
func TestDoctorShowsAPausedAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	store := record.New(f.Redis.Client())
	name := "dinero-" + dinerotest.Organization
	if err := store.RegisterAccounts(t.Context(), []string{name, "dckap", "danaconnect-otp"}); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{name, "dckap"} {
		if _, err := store.PauseAccount(t.Context(), account, record.Pause{Who: "ana@host", Reason: "it moves"}, 0); err != nil {
			t.Fatal(err)
		}
	}
	r := runDoctor(t, f.Environ)
	r.want(t, "warn", "account "+name, "paused by ana@host (it moves)", "worker resume "+name)
	r.want(t, "warn", "account dckap", "paused by ana@host (it moves)", "worker resume dckap --account")
	r.want(t, "warn", "dinero credential "+name, "not checked: "+name+" is paused by an operator", "see account "+name+" above")
	if strings.Contains(r.text, "account danaconnect-otp") || f.logins() != 0 {
		t.Errorf("%d logins\n%s", f.logins(), r.text)
	}
}

func TestDoctorFindsAnUntrustedCertificate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	secure := httptest.NewTLSServer(f.dinero)
	t.Cleanup(secure.Close)
	r := runDoctor(t, f.With(map[string]string{"DINERO_API_URL": secure.URL}))
	r.want(t, "FAIL", "dinero DINERO_API_URL connection", "its certificate is not trusted", "install the system's CA certificates")
	r.want(t, "warn", "dinero credential dinero-123456", "not checked: the vendor cannot be reached")
	if n := f.logins(); n != 0 || r.ok {
		t.Errorf("ok %t, %d logins", r.ok, n)
	}
}

// A host that this machine cannot connect to costs no login: its failure would hold
// back the whole fleet.
func TestDoctorWithAVendorThatIsDown(t *testing.T) {
	t.Parallel()
	broken := newFixture(t)
	broken.Environ["DINERO_API_URL"] = "http://127.0.0.1:1/"
	r := runDoctor(t, broken.Environ)
	r.want(t, "FAIL", "dinero DINERO_API_URL connection", "127.0.0.1:1: connection refused", "check DINERO_API_URL")
	r.want(t, "warn", "dinero credential dinero-123456", "not checked: the vendor cannot be reached")
	if keys, err := broken.Redis.Client().Keys(t.Context(), "tok:{dinero*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("the doctor left %v, %v", keys, err)
	}
	down := newFixture(t)
	down.dinero.Inject(sandbox.Fault{Op: dinerotest.OpToken, Status: http.StatusServiceUnavailable})
	r = runDoctor(t, down.Environ)
	r.want(t, "FAIL", "dinero credential dinero-123456", "HTTP 503", "check the vendor's status page")
}

func TestDoctorAsJSON(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw, err := json.Marshal(doctor.Run(t.Context(), f.With(map[string]string{"LOG_LEVEL": "loud"})))
	if err != nil {
		t.Fatal(err)
	}
	var shape struct {
		OK     *bool               `json:"ok"`
		Checks []map[string]string `json:"checks"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		t.Fatal(err)
	}
	if shape.OK == nil || *shape.OK || len(shape.Checks) < 10 {
		t.Errorf("%s", raw)
	}
	for _, check := range shape.Checks {
		if len(check) != 4 || check["name"] == "" || check["seen"] == "" ||
			!slices.Contains([]string{"ok", "warn", "fail"}, check["level"]) ||
			(check["level"] == "ok") != (check["fix"] == "") {
			t.Errorf("%v", check)
		}
	}
}
