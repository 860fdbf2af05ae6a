package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/produce"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// A task is enqueued, waited for and read again with the object of enqueue --json; the
// same key sends nothing twice.
func TestAPasscodeIsSentOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	path := "/v1/tasks/" + sendType + "?wait=20s"
	first := f.do("POST", path, otpPayload, "Idempotency-Key", "canary-login-1")
	r := f.report(first, 200)
	if r.Outcome != tasks.Done || r.Duplicate || r.Queue != "otp" || r.Type != sendType || r.State != produce.StateEnded ||
		pointer(r.Attempts) != 1 || !strings.Contains(string(pointer(r.Data)), `"idRequest"`) {
		t.Errorf("the first answer: %s", first.body)
	}
	if got := first.header.Get("Location"); got != "/v1/tasks/"+r.ID {
		t.Errorf("Location: %s", got)
	}
	again := f.report(f.do("POST", path, otpPayload, "Idempotency-Key", "canary-login-1"), 200)
	if again.ID != r.ID || !again.Duplicate || again.Outcome != tasks.Done || again.Data == nil {
		t.Errorf("the same key again: %+v", again)
	}
	other := strings.Replace(otpPayload, "canary-9", "canary-10", 1)
	f.problem(f.do("POST", path, other, "Idempotency-Key", "canary-login-1"), 409, "key-conflict")
	if n := f.otp.Calls(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d passcodes were sent", n)
	}
	read := f.report(f.do("GET", "/v1/tasks/"+r.ID, ""), 200)
	if read.Outcome != tasks.Done || read.History == nil || len(*read.History) != 1 {
		t.Errorf("read again: %+v", read)
	}
	f.problem(f.do("DELETE", "/v1/tasks/"+r.ID, ""), 409, "started")
}

// A task that was not attempted can be waited for, and cancelled by the key that
// enqueued it only.
func TestAStoredTaskIsCancelled(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	stored := f.report(f.do("POST", "/v1/tasks/"+sendType+"?in=1h&notify=true&usableFor=2m", otpPayload), 202)
	if stored.State != string(tasks.Scheduled) || stored.Outcome != "" {
		t.Errorf("stored: %+v", stored)
	}
	path := "/v1/tasks/" + stored.ID
	waited := f.report(f.do("GET", path+"?wait=10ms", ""), 200)
	if waited.State != string(tasks.Scheduled) {
		t.Errorf("after the wait: %+v", waited)
	}
	f.problem(f.do("DELETE", path, "", as(officeKey)...), 404, "not-found")
	f.problem(f.do("DELETE", path, "", as(auditKey)...), 404, "not-found")
	if r := f.report(f.do("DELETE", path, ""), 200); r.Outcome != tasks.Cancelled {
		t.Errorf("cancelled: %+v", r)
	}
	f.problem(f.do("DELETE", "/v1/tasks/otp_aaaaaaaaaaaaaaaaaaaaaaaaaa", ""), 404, "not-found")
	f.problem(f.do("GET", "/v1/tasks/canary", ""), 404, "not-found")
}

// A result goes only to the key that enqueued the task, and to one marked read. Another
// key that enqueues the same learns that it is a duplicate, and how it ended.
func TestAResultIsItsKeysOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	path := "/v1/tasks/" + sendType + "?wait=20s"
	own := f.report(f.do("POST", path, otpPayload, "Idempotency-Key", "login-2"), 200)
	task := "/v1/tasks/" + own.ID
	f.problem(f.do("GET", task, "", as(officeKey)...), 404, "not-found")
	f.problem(f.do("GET", task, "", as(pipeKey)...), 404, "not-found")
	if r := f.report(f.do("GET", task, "", as(auditKey)...), 200); len(pointer(r.Data)) == 0 || r.History == nil {
		t.Errorf("the key marked read gets %+v", r)
	}
	dup := f.do("POST", path, otpPayload, append(as(officeKey), "Idempotency-Key", "login-2")...)
	r := f.report(dup, 200)
	if !r.Duplicate || r.ID != own.ID || r.Outcome != tasks.Done {
		t.Errorf("another key's duplicate: %+v", r)
	}
	if r.Data != nil || r.Message != nil || r.Code != nil || r.History != nil || strings.Contains(string(dup.body), "idRequest") {
		t.Errorf("another key's duplicate has a result: %s", dup.body)
	}

	// What no key has enqueued belongs to no key.
	ticket, err := f.worker.Client.EnqueuePayload(t.Context(), decode(t, sendType, otpPayload))
	if err != nil {
		t.Fatal(err)
	}
	f.problem(f.do("GET", "/v1/tasks/"+ticket.ID, ""), 404, "not-found")
	if r := f.report(f.do("GET", "/v1/tasks/"+ticket.ID, "", as(auditKey)...), 200); r.ID != ticket.ID {
		t.Errorf("the key marked read gets %+v", r)
	}
}

// A request is refused with every place at fault, and nothing of it is stored.
func TestEveryFaultIsNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.Redis.Client().FlushDB(t.Context())
	bad := f.do("POST", "/v1/tasks/"+sendType+"?wait=2h&in=soon&at=tomorrow&usableFor=-1s&notify=perhaps&canary=1",
		`{"idConversation":0,"values":{},"length":99,"extra":1}`, "Idempotency-Key", " ")
	f.wantFaults(f.problem(bad, 422, "invalid"),
		"query in: must be a duration, such as 90s, 10m or 1h30m",
		"query at: must be an RFC 3339 time, such as 2026-12-31T09:00:00Z; write %2B for a + in it",
		"query usableFor: must be positive",
		"query notify: must be true or false",
		"query wait: must be above 0 and at most 60s",
		"header Idempotency-Key: must not be empty; leave it out to enqueue without a key",
		"query : has a parameter that does not exist; there are in, at, usableFor, notify, wait",
		"body extra: is unknown",
		"body idConversation: must not be 0",
		"body length: must be at most 12",
		"body type: is required",
		"body values: must have at least 1 entry",
	)
	for name, tc := range map[string]struct {
		answer answer
		status int
		kind   string
		detail string
	}{
		"no JSON":        {f.do("POST", "/v1/tasks/"+sendType, `{"a"`), 422, "invalid", "not JSON"},
		"no body":        {f.do("POST", "/v1/tasks/"+sendType, ""), 422, "invalid", "it is empty"},
		"not UTF-8":      {f.do("POST", "/v1/tasks/"+sendType, "{\"a\":\"\xe9\"}"), 422, "invalid", "UTF-8"},
		"a list":         {f.do("POST", "/v1/tasks/"+sendType, "[]"), 422, "invalid", "must be an object"},
		"no such type":   {f.do("POST", "/v1/tasks/danaconnect:otp:sent", "{}"), 404, "not-found", "did you mean danaconnect:otp:send"},
		"a secret type":  {f.do("POST", "/v1/tasks/event:deliver", "{}"), 404, "not-found", "no such task type"},
		"too large":      {f.do("POST", "/v1/tasks/"+sendType, strings.Repeat(" ", 1<<20)), 413, "too-large", "524288"},
		"compressed":     {f.do("POST", "/v1/tasks/"+sendType, "x", "Content-Encoding", "gzip"), 415, "encoding", "Content-Encoding"},
		"another method": {f.do("PUT", "/v1/tasks/"+sendType, "{}"), 405, "method", "POST"},
		"no such path":   {f.do("GET", "/v2/tasks", ""), 404, "not-found", "/v1/docs"},
		"no such type in a bulk": {
			f.do("POST", "/v1/tasks:bulk?type=danaconnect:otp:sent", "{}"), 422, "invalid", "did you mean",
		},
		"a bulk without rows": {f.do("POST", "/v1/tasks:bulk", "\n"), 422, "invalid", "is empty"},
		"a bulk of a list":    {f.do("POST", "/v1/tasks:bulk", "[{}]"), 422, "invalid", "JSON array"},
		"both starts": {
			f.do("POST", "/v1/tasks/"+sendType+"?in=1m&at=2036-01-01T00:00:00Z", otpPayload), 422, "invalid", "together",
		},
		"a key beside its own": {
			f.do("POST", "/v1/tasks/dinero:invoice:create", `{"organizationId":"123456","body":{"ExternalReference":"a"}}`,
				"Idempotency-Key", "b"), 422, "invalid", "contradicts body.ExternalReference",
		},
	} {
		if p := f.problem(tc.answer, tc.status, tc.kind); !strings.Contains(p.Detail, tc.detail) {
			t.Errorf("%s: %q lacks %q", name, p.Detail, tc.detail)
		}
	}
	if pending, _ := f.Redis.Client().LLen(t.Context(), "asynq:{otp}:pending").Result(); pending != 0 {
		t.Errorf("%d tasks are stored", pending)
	}
	if n := f.otp.Calls(danaconnecttest.OpSend); n != 0 {
		t.Errorf("%d passcodes were sent", n)
	}
}

// Without a right key nothing is answered, slowly, and it is counted.
func TestAWrongKeyGetsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	path := "/v1/tasks/" + sendType
	for name, header := range map[string][]string{
		"none":           {"Authorization", ""},
		"wrong":          as("errand_canary-wrong"),
		"empty":          {"Authorization", "Bearer "},
		"another scheme": {"Authorization", "Basic " + shopKey},
		"its digest":     as(strings.SplitN(f.Environ["API_KEYS"], ":", 3)[1][:64]),
	} {
		began := time.Now()
		a := f.do("POST", path, otpPayload, header...)
		f.problem(a, 401, "unauthorized")
		if took := time.Since(began); took < time.Second {
			t.Errorf("%s: refused after %v", name, took)
		}
		if a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: %v", name, a.header)
		}
	}
	// A key in the address is no key, and is not quoted.
	f.problem(f.do("POST", path+"?key="+shopKey, otpPayload, "Authorization", ""), 401, "unauthorized")
	f.problem(f.do("POST", path+"?key="+shopKey, otpPayload), 422, "invalid")
	f.problem(f.do("POST", path, otpPayload, as(pipeKey)...), 403, "forbidden")
	if n := f.otp.Calls(danaconnecttest.OpSend); n != 0 {
		t.Errorf("%d passcodes were sent", n)
	}
	_, text := f.worker.Get(t, "/metrics")
	for _, want := range []string{
		`errand_api_refused_total{reason="missing"} 4`,
		`errand_api_refused_total{reason="wrong"} 2`,
		`errand_api_requests_total{call="enqueue",key="pipe",status="403"} 1`,
		`errand_api_rows_total{key="shop",result="enqueued"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, secret := range []string{shopKey, "errand_canary-wrong"} {
		if strings.Contains(text, secret) || strings.Contains(f.worker.Log.String(), secret) {
			t.Errorf("%s is in the metrics or in the log", secret)
		}
	}
}

// A key that sends more than its rate is told when to come again; other keys are not
// held up.
func TestAKeyHasARate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, map[string]string{"API_RATE": "3/1h"})
	for range 3 {
		f.report(f.do("POST", "/v1/tasks/"+sendType+"?in=1h", otpPayload), 202)
	}
	refused := f.do("POST", "/v1/tasks/"+sendType+"?in=1h", otpPayload)
	f.problem(refused, 429, "too-many")
	if got := refused.header.Get("Retry-After"); got != "1200" {
		t.Errorf("Retry-After: %s", got)
	}
	f.report(f.do("POST", "/v1/tasks/"+sendType+"?in=1h", otpPayload, as(officeKey)...), 202)
}

// When Redis takes no writes nothing is stored and the answer says when to come again.
func TestNothingIsStoredWithoutRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	if err := f.Redis.Client().ConfigSet(t.Context(), "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	refused := f.do("POST", "/v1/tasks/"+sendType, otpPayload, "Idempotency-Key", "login-3")
	f.problem(refused, http.StatusServiceUnavailable, "unavailable")
	if refused.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", refused.header)
	}
	if err := f.Redis.Client().ConfigSet(t.Context(), "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
	r := f.report(f.do("POST", "/v1/tasks/"+sendType+"?wait=20s", otpPayload, "Idempotency-Key", "login-3"), 200)
	if r.Duplicate || r.Outcome != tasks.Done {
		t.Errorf("later: %+v", r)
	}
}

// A queue in which too many tasks wait takes no more, and says when to come again.
func TestAFullQueueTakesNoMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, map[string]string{"WORKER_QUEUES": "anna=1", "QUEUE_LIMIT": "1"})
	f.report(f.do("POST", "/v1/tasks/"+sendType, otpPayload), 202)
	refused := f.do("POST", "/v1/tasks/"+sendType, otpPayload)
	f.problem(refused, http.StatusServiceUnavailable, "full")
	if refused.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", refused.header)
	}
}

// A worker that stops answers the requests that wait with what it knows.
func TestAStoppingWorkerAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	answered := make(chan answer, 1)
	go func() {
		answered <- f.do("POST", "/v1/tasks/"+sendType+"?in=1h&wait=60s", otpPayload)
	}()
	testwait.Eventually(t, 10*time.Second, "the task is stored", func() bool {
		n, err := f.Redis.Client().ZCard(t.Context(), "asynq:{otp}:scheduled").Result()
		return err == nil && n == 1
	})
	if err := f.worker.Stop(); err != nil {
		t.Error(err)
	}
	if r := f.report(<-answered, 202); r.State != string(tasks.Scheduled) {
		t.Errorf("the waiting request got %+v", r)
	}
}
