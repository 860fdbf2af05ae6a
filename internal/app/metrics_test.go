package app_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// series are the lines of /metrics by name and labels, with their values.
func series(t *testing.T, w *apptest.Worker) map[string]string {
	t.Helper()
	status, body := w.Get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d %s", status, body)
	}
	all := map[string]string{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if at := strings.LastIndexByte(line, ' '); at > 0 && !strings.HasPrefix(line, "#") {
			all[line[:at]] = line[at+1:]
		}
	}
	return all
}

// A counter that begins at one has never risen: an alert on its increase would miss the
// first dead task. So no series appears while a worker works.
func TestEverySeriesExistsFromTheStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Receive(apptest.NewReceiver(t, http.StatusOK))
	w := f.Start(t)
	before := series(t, w)

	f.danaconnect.Inject(sandbox.Fault{Op: "send", Status: 500})
	for _, info := range all.Vendors.Types() {
		ticket, err := w.Client.EnqueuePayload(t.Context(), info.Example, tasks.Notify())
		if err != nil {
			t.Fatalf("%s: %v", info.Type, err)
		}
		if _, err := apptest.Wait(t, ticket); strings.HasPrefix(string(apptest.Outcome(err)), "error") {
			t.Fatalf("%s: %v", info.Type, err)
		}
	}
	testwait.Eventually(t, time.Minute, "the dead task is counted", func() bool {
		return series(t, w)[`errand_announcements_total{kind="task.dead"}`] != "0"
	})
	after := series(t, w)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		// Only a payload names this pipe, so nobody can know it before.
		ofPipe := strings.Contains(name, `profile="dckap-pipe-`)
		if _, known := before[name]; !known && strings.HasPrefix(name, "errand_") && !ofPipe {
			t.Errorf("%s has appeared, with %s", name, after[name])
		}
	}
	for name, value := range before {
		if strings.HasPrefix(name, "errand_tasks_finished_total") && value != "0" {
			t.Errorf("%s is %s at the start", name, value)
		}
	}
}

func TestCredentialStates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("danaconnect", "dckap", "dinero")
	w := f.Start(t)
	is := func(profile, want string) {
		t.Helper()
		testwait.Eventually(t, time.Minute, profile+" is "+want, func() bool {
			now := series(t, w)
			ones := 0
			for _, state := range []string{"unknown", "proven", "refused"} {
				if now[`errand_credential_state{profile="`+profile+`",state="`+state+`"}`] == "1" {
					ones++
				}
			}
			return ones == 1 && now[`errand_credential_state{profile="`+profile+`",state="`+want+`"}`] == "1"
		})
	}
	is("danaconnect-otp", "unknown")
	is("dinero-"+dinerotest.Organization, "unknown")
	if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err != nil {
		t.Fatal(err)
	}
	is("danaconnect-otp", "proven")
	if _, err := apptest.Run(t, w, listContacts); err != nil {
		t.Fatal(err)
	}
	is("dinero-"+dinerotest.Organization, "proven")
	f.danaconnect.Inject(sandbox.Fault{Status: 401, Times: 1})
	if _, err := tasks.Enqueue(t.Context(), w.Client, otpFor("ben@example.com")); err != nil {
		t.Fatal(err)
	}
	is("danaconnect-otp", "refused")
}

// A worker says what it is, that it lives, and that its Redis takes no writes any more.
func TestWorkerAndRedisAreShown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Environ["DCKAP_TOKEN_EXPIRES_ON"] = "2031-01-31"
	w := f.Start(t)
	testwait.Eventually(t, time.Minute, "the worker is counted", func() bool {
		now := series(t, w)
		return now["errand_workers"] == "1" && now[`errand_queue_workers{queue="otp"}`] == "1"
	})
	now := series(t, w)
	for name, want := range map[string]string{
		"errand_redis_up":             "1",
		"errand_redis_refuses_writes": "0",
		"errand_redis_evicts":         "0",
		"errand_clock_skew_seconds":   "0",
		`errand_credential_expires_timestamp_seconds{profile="dckap"}`: "1.9276704e+09",
		`errand_unconfirmed_tasks{queue="anna"}`:                       "0",
	} {
		if now[name] != want {
			t.Errorf("%s is %q, want %s", name, now[name], want)
		}
	}
	build := regexp.MustCompile(`^errand_build_info\{commit="[^"]+",format="4",goversion="1\.[^"]+",version="dev"\}$`)
	if !slices.ContainsFunc(slices.Collect(maps.Keys(now)), build.MatchString) {
		t.Error("there is no errand_build_info")
	}
	if age := now["errand_worker_last_heartbeat_seconds"]; !regexp.MustCompile(`^[0-5](\.|$)`).MatchString(age) &&
		!strings.Contains(age, "e-") {
		t.Errorf("the heartbeat is %s s old", age)
	}
	if err := f.Redis.Client().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if now := series(t, w); now["errand_redis_refuses_writes"] != "1" || now["errand_redis_up"] != "1" {
		t.Errorf("a full Redis: refuses %s, up %s", now["errand_redis_refuses_writes"], now["errand_redis_up"])
	}
	if err := f.Redis.Client().ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
}
