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

	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

func TestDoctorFindsAllWell(t *testing.T) {
	t.Parallel()
	c := newClinic(t, redistest.AOF("everysec"))
	r := examine(t, c.environ)
	if !r.ok {
		t.Errorf("not ok:\n%s", r.text)
	}
	for _, want := range [][3]string{
		{"ok", "settings", "complete and valid"},
		{"ok", "encryption keys", "k1 seals"},
		{"ok", "redis", "answers (redis://127.0.0.1:"},
		{"ok", "redis eviction", "noeviction"},
		{"ok", "redis persistence", "append-only file, appendfsync everysec"},
		{"ok", "queues", "runs anna=10, danaconnect=5, otp=20, polls=10; left to other workers: "},
		{"ok", "workers", "none is live"},
		{"ok", "danaconnect DANACONNECT_OTP_URL connection", "connected in"},
		{"ok", "danaconnect DANACONNECT_CONTACTS_URL connection", "connected in"},
		{"warn", "danaconnect credential danaconnect-otp", "unproven"},
		{"ok", "anna dns", "127.0.0.1 is an address"},
		{"ok", "anna connection", "connected in"},
		{"ok", "anna credential", "logged in, valid for "},
	} {
		r.wants(t, want[0], want[1], want[2])
	}
	examine(t, c.environ).wants(t, "ok", "anna credential", "the fleet has a token, valid for ")
	if n := c.logins(); n != 1 {
		t.Errorf("two runs logged in %d times", n)
	}
}

// What workers have learnt is known to the doctor.
func TestDoctorSeesTheFleet(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	c.environ["HTTP_ADDR"] = ""
	c.work(t)
	client, err := tasks.Open(c.redis.URL(), tasks.EncryptionKeys(keyOne))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := run(t, &site{client: client}, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	r := examine(t, c.environ)
	r.wants(t, "ok", "danaconnect credential danaconnect-otp", "proven: a call with it was accepted")
	r.wants(t, "ok", "workers", "1 live; queues run: anna by 1, danaconnect by 1, otp by 1, polls by 1")
	if strings.Contains(r.text, "queue otp") {
		t.Errorf("a queue that is run is reported:\n%s", r.text)
	}
}

func TestDoctorRespectsARefusal(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	environ := c.with(map[string]string{"ANNA_PASSWORD": "wrong-canary"})
	r := examine(t, environ)
	fix := "correct ANNA_COMPANY_HASH, ANNA_USER or ANNA_PASSWORD and restart the workers; or, once the account is unlocked at the vendor: worker credentials clear anna"
	r.wants(t, "FAIL", "anna credential", "was refused (the login was answered with ", fix)
	again := examine(t, environ)
	again.wants(t, "FAIL", "anna credential", "refused once (the login was answered with ", fix)
	if n := c.logins(); r.ok || again.ok || n != 1 {
		t.Errorf("%d logins with a password that is known to be wrong", n)
	}
	if strings.Contains(r.text+again.text, "canary") {
		t.Error("the password shows")
	}

	text, err := app.ClearCoolDown(t.Context(), environ, "anna")
	if err != nil || !strings.Contains(text, "anna: refused once (") || !strings.Contains(text, "; cleared: ") {
		t.Errorf("clear: %q, %v", text, err)
	}
	if text, err = app.ClearCoolDown(t.Context(), environ, "anna"); err != nil ||
		!strings.Contains(text, "nothing to clear") {
		t.Errorf("clear again: %q, %v", text, err)
	}
	examine(t, environ).wants(t, "FAIL", "anna credential", "was refused")
	if n := c.logins(); n != 2 {
		t.Errorf("%d logins after the cool-down was cleared", n)
	}
	// The right password is another credential, and has a clean slate.
	examine(t, c.environ).wants(t, "ok", "anna credential", "logged in")
}

func TestClearCoolDownRefuses(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	for _, tc := range []struct {
		name, profile string
		change        map[string]string
		text          string
	}{
		{"no such credential", "bob", nil, `no usable credential is named "bob"; there are danaconnect-otp, anna`},
		{"its settings are wrong", "anna", map[string]string{"ANNA_USER": ""}, "ANNA_USER: is not set"},
		{"another one's settings are wrong", "danaconnect-otp", map[string]string{"DANACONNECT_COMPANY": ""}, "DANACONNECT_COMPANY: is not set"},
		{"no Redis named", "anna", map[string]string{"REDIS_URL": "http://canary"}, "REDIS_URL: must begin with"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text, err := app.ClearCoolDown(t.Context(), c.with(tc.change), tc.profile)
			if err == nil || text != "" || !strings.Contains(err.Error(), tc.text) ||
				strings.Contains(err.Error(), "canary") {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	t.Run("another vendor's settings are wrong", func(t *testing.T) {
		t.Parallel()
		if _, err := app.ClearCoolDown(t.Context(), c.with(map[string]string{"DANACONNECT_COMPANY": ""}), "anna"); err != nil {
			t.Error(err)
		}
	})
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
			c := newClinic(t, tc.opts...)
			if tc.breaks != nil {
				tc.breaks(c.redis)
			}
			if tc.url != nil {
				c.environ["REDIS_URL"] = tc.url(c.redis)
			}
			r := examine(t, c.environ)
			level := "FAIL"
			if tc.fix == "" {
				level = "warn"
			}
			r.wants(t, level, "redis", tc.seen, tc.fix)
			r.wants(t, "warn", "workers", "not checked: Redis does not answer")
			r.wants(t, "ok", "queues", "runs anna=10")
			r.wants(t, "ok", "anna connection", "connected in")
			r.wants(t, "warn", "anna credential", "not checked: Redis does not answer")
			if n := c.logins(); r.ok || n != 0 || strings.Contains(r.text, "canary") {
				t.Errorf("ok %t, %d logins\n%s", r.ok, n, r.text)
			}
		})
	}
}

func TestDoctorWithACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.NewCluster(t, 3)
	c := newClinic(t)
	r := examine(t, c.with(map[string]string{"REDIS_URL": cluster.URL()}))
	r.wants(t, "ok", "redis", "3 masters answer (redis-cluster://")
	r.wants(t, "ok", "redis eviction", "noeviction")
	r.wants(t, "ok", "workers", "none is live")
	r.wants(t, "ok", "anna credential", "logged in")
}

func TestDoctorWithBrokenSettings(t *testing.T) {
	t.Parallel()
	c := newClinic(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	r := examine(t, c.with(map[string]string{
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
		{"ok", "queues", "runs anna=10, polls=10; left to other workers:"},
		{"ok", "danaconnect DANACONNECT_OTP_URL connection", "connected in"},
		{"warn", "danaconnect credential", "not checked: its settings are wrong"},
		{"warn", "anna credential", "not checked: ENCRYPTION_KEYS is wrong"},
	} {
		r.wants(t, want[0], want[1], want[2])
	}
	// The token would have been stored unsealed.
	if n := c.logins(); n != 0 || r.ok || strings.Contains(r.text, "canary") {
		t.Errorf("ok %t, %d logins\n%s", r.ok, n, r.text)
	}
}

func TestDoctorWithoutAnything(t *testing.T) {
	t.Parallel()
	r := examine(t, map[string]string{"REDIS_URL": redistest.New(t).URL()})
	r.wants(t, "FAIL", "settings", "no vendor has credentials")
	r.wants(t, "warn", "encryption keys", "none", "set ENCRYPTION_KEYS=k1:")
	r.wants(t, "FAIL", "queues", "would run none", "name queues in WORKER_QUEUES")
	r.wants(t, "ok", "danaconnect", "not configured")
	r.wants(t, "ok", "anna", "not configured")
}

func TestDoctorFindsTheWrongKeys(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	examine(t, c.environ).wants(t, "ok", "anna credential", "logged in")
	examine(
		t,
		c.with(map[string]string{"ENCRYPTION_KEYS": keyTwo + "," + keyOne}),
	).wants(t, "ok", "encryption keys", "k2 seals; k1 only for what was sealed before")
	r := examine(t, c.with(map[string]string{"ENCRYPTION_KEYS": keyTwo}))
	r.wants(
		t,
		"FAIL",
		"anna credential",
		"the fleet's token cannot be opened",
		"set ENCRYPTION_KEYS to the keys of the other workers",
	)
}

func TestDoctorFindsTasksThatWaitForNobody(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	client, err := tasks.Open(c.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	for range 2 {
		if _, err := tasks.Enqueue(t.Context(), client, tasks.UserInactivate{UserID: "u-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tasks.Enqueue(t.Context(), client, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: c.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("old:task", nil), asynq.Queue("old")); err != nil {
		t.Fatal(err)
	}
	if err := asynq.NewInspectorFromRedisClient(rdb).PauseQueue("otp"); err != nil {
		t.Fatal(err)
	}
	r := examine(t, c.environ)
	r.wants(
		t,
		"warn",
		"queue anna",
		"no live worker runs it; tasks: 2 waiting, the oldest for ",
		"start a worker with these settings",
	)
	r.wants(t, "warn", "queue otp", "paused; tasks: 1 waiting", "resume it in /monitoring/")
	r.wants(t, "warn", "queue old", "no live worker runs it; tasks: 1 waiting", "it is no queue of this version")
	r = examine(t, c.with(map[string]string{
		"ANNA_URL":          "",
		"ANNA_COMPANY_HASH": "",
		"ANNA_USER":         "",
		"ANNA_PASSWORD":     "",
	}))
	r.wants(
		t,
		"warn",
		"queue anna",
		"no live worker runs it",
		"start a worker with anna in WORKER_QUEUES and its vendor's credentials",
	)
}

func TestDoctorMeetsAnUntrustedCertificate(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	secure := httptest.NewTLSServer(c.anna)
	t.Cleanup(secure.Close)
	r := examine(t, c.with(map[string]string{"ANNA_URL": secure.URL}))
	r.wants(t, "FAIL", "anna connection", "its certificate is not trusted", "install the system's CA certificates")
	r.wants(t, "warn", "anna credential", "not checked: the vendor cannot be reached")
	if n := c.logins(); n != 0 || r.ok {
		t.Errorf("ok %t, %d logins", r.ok, n)
	}
}

// A vendor's trouble is told, and a connection that only this machine lacks is
// not made the fleet's.
func TestDoctorWithAVendorThatIsDown(t *testing.T) {
	t.Parallel()
	broken := newClinic(t)
	broken.environ["ANNA_URL"] = "http://127.0.0.1:1/"
	r := examine(t, broken.environ)
	r.wants(t, "FAIL", "anna connection", "127.0.0.1:1: connection refused", "check ANNA_URL")
	r.wants(t, "warn", "anna credential", "not checked: the vendor cannot be reached")
	if keys, err := broken.redis.Client().Keys(t.Context(), "tok:*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("the doctor left %v, %v", keys, err)
	}
	down := newClinic(t)
	down.anna.Inject(sandbox.Fault{Status: http.StatusServiceUnavailable})
	r = examine(t, down.environ)
	r.wants(t, "FAIL", "anna credential", "HTTP 503", "look at the vendor's status page")
}

func TestDoctorAsJSON(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	raw, err := json.Marshal(app.Doctor(t.Context(), c.with(map[string]string{"LOG_LEVEL": "loud"})))
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
