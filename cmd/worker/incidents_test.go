package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/proctest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dckap"
	"errand.internal/tasks/dinero"
)

// incident is what an operator meets, and what tells of it.
type incident struct {
	name string
	env  map[string]string
	// happen makes it happen and returns the task that somebody asks about.
	happen func(s *scene) (id string)
	// doctor is the level and a part of the doctor's line that names the cause.
	doctor [2]string
	// explain are parts of the explanation.
	explain []string
	// alert is the alert that rings, and series the one whose sample, which is not 0, has it
	// ring.
	alert  string
	series string
	// outside is what is done outside of Errand, at the vendor or to Redis; nil for nothing.
	outside func(s *scene)
	// command is printed by one of the two, and mends it; ID stands for the task's. Without
	// one, who is what they print about who must do what.
	command string
	who     string
	// again is a part of what the doctor says no more afterwards, if there is one.
	again string
	// outcome is that of the task, or of its replay, afterwards.
	outcome tasks.Outcome
}

// scene is a fleet of one worker with its vendors.
type scene struct {
	t *testing.T
	*apptest.Fixture
	w      *apptest.Worker
	dana   *danaconnecttest.Sandbox
	dckap  *dckaptest.Sandbox
	dinero *dinerotest.Sandbox
	dir    string
}

func newScene(t *testing.T, env map[string]string) *scene {
	t.Helper()
	f := apptest.New(t)
	s := &scene{
		t:       t,
		Fixture: f,
		dana:    sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes),
		dckap:   sandbox.Find[*dckaptest.Sandbox](f.Sandboxes),
		dinero:  sandbox.Find[*dinerotest.Sandbox](f.Sandboxes),
		dir:     t.TempDir(),
	}
	for name, value := range env {
		f.Environ[name] = value
	}
	return s
}

// start starts the worker, once.
func (s *scene) start() {
	s.t.Helper()
	if s.w == nil {
		s.w = s.Start(s.t)
	}
}

// write writes a secret into its file, and has the settings name it.
func (s *scene) write(variable, value string) {
	s.t.Helper()
	path := filepath.Join(s.dir, variable)
	err := os.WriteFile(path+".new", []byte(value), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	delete(s.Environ, variable)
	s.Environ[variable+"_FILE"] = path
}

func enqueue[R any](s *scene, task tasks.Task[R], opts ...tasks.Option) string {
	s.t.Helper()
	ticket, err := tasks.Enqueue(s.t.Context(), s.Client(s.t), task, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return ticket.ID
}

func (s *scene) passcode(conversation int64, opts ...tasks.Option) string {
	s.t.Helper()
	return enqueue(s, danaconnect.OTPSend{
		IDConversation: conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
	}, opts...)
}

func (s *scene) pipeCall() string {
	s.t.Helper()
	return enqueue(s, dckap.DynamicCall{Listener: dckaptest.Listener, Body: map[string]any{"order": "1"}})
}

// reads enqueues so many reads of contacts, and returns the first one.
func (s *scene) reads(n int) (first string) {
	s.t.Helper()
	for range n {
		id := enqueue(s, dinero.APICall{
			OrganizationID: dinerotest.Organization,
			Method:         "GET",
			Path:           "contacts",
		})
		if first == "" {
			first = id
		}
	}
	return first
}

// stop stops the worker.
func (s *scene) stop() {
	s.t.Helper()
	if err := s.w.Stop(); err != nil {
		s.t.Fatal(err)
	}
	s.w = nil
}

// now is the time by Redis' clock.
func (s *scene) now() time.Time {
	s.t.Helper()
	now, err := s.Redis.Client().Time(s.t.Context()).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return now
}

// newest waits until there is a task in a queue, and returns the newest.
func (s *scene) newest(queue string) (id string) {
	s.t.Helper()
	testwait.Eventually(s.t, time.Minute, "a task of "+queue, func() bool {
		var out bytes.Buffer
		var task struct{ ID string }
		run(s.t.Context(), []string{"tasks", "list", "--queue", queue, "--limit", "1", "--json"}, s.Environ, &out, io.Discard)
		err := json.Unmarshal(out.Bytes(), &task)
		id = task.ID
		return err == nil && id != ""
	})
	return id
}

// schedule has a pipe called every second.
func (s *scene) schedule() {
	s.t.Helper()
	path := filepath.Join(s.dir, "schedules.yaml")
	err := os.WriteFile(path, []byte("schedules: [{name: often, every: 1s, type: dckap:dynamic:call, "+
		"payload: {listener: "+dckaptest.Listener+", body: {order: '1'}, idempotent: true}}]\n"), 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Environ["SCHEDULE_FILE"] = path
}

// receive has events sent to a receiver that looks at their signature and time.
func (s *scene) receive() {
	s.t.Helper()
	verify, err := standardwebhooks.NewWebhook(apptest.EventsSecret)
	if err != nil {
		s.t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || verify.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	s.t.Cleanup(web.Close)
	s.Environ["EVENTS_URL"] = web.URL
	s.Environ["EVENTS_SECRET"] = apptest.EventsSecret
}

// worker runs a command of the worker and returns what it prints.
func (s *scene) worker(args ...string) string {
	s.t.Helper()
	var out bytes.Buffer
	run(s.t.Context(), args, s.Environ, &out, &out)
	return out.String()
}

// parked waits until a task is parked.
func (s *scene) parked(id string) {
	s.t.Helper()
	testwait.Eventually(s.t, time.Minute, id+" is parked", func() bool {
		return strings.Contains(s.worker("explain", id), "  parked")
	})
}

// typed matches the words of a command line as a shell reads them.
var typed = regexp.MustCompile(`'[^']*'|\S+`)

// command runs a command line as it was printed.
func (s *scene) command(line string) {
	s.t.Helper()
	words := typed.FindAllString(line, -1)
	for i, word := range words {
		words[i] = strings.Trim(word, "'")
	}
	switch words[0] {
	case "worker":
		var out bytes.Buffer
		if code := run(s.t.Context(), words[1:], s.Environ, &out, &out); code != 0 {
			s.t.Errorf("%s: exit %d\n%s", line, code, &out)
		}
	case "redis-cli":
		args := make([]any, len(words)-1)
		for i, word := range words[1:] {
			args[i] = word
		}
		if err := s.Redis.Client().Do(s.t.Context(), args...).Err(); err != nil {
			s.t.Errorf("%s: %v", line, err)
		}
	default:
		s.t.Errorf("nobody can run %q", line)
	}
}

// outcome returns how a task, or its replay, has ended.
func (s *scene) outcome(id string) tasks.Outcome {
	s.t.Helper()
	status, err := s.Client(s.t).Status(s.t.Context(), id)
	if err != nil || status == nil {
		return ""
	}
	if replay := regexp.MustCompile(`worker explain (\S+)`).FindStringSubmatch(s.worker("explain", id)); replay != nil {
		return s.outcome(replay[1])
	}
	return status.Outcome
}

const locked = "a password that the vendor has locked"

var incidents = []incident{
	{
		name: "wrong password",
		env:  map[string]string{"DANACONNECT_PASSWORD": locked},
		happen: func(s *scene) string {
			s.start()
			s.parked(s.passcode(danaconnecttest.Conversation))
			return s.passcode(danaconnecttest.Conversation)
		},
		doctor:  [2]string{"FAIL", "refused once"},
		explain: []string{"now parked", "credential danaconnect-otp was refused"},
		alert:   "ErrandCredentialRefused",
		series:  `errand_credential_state{profile="danaconnect-otp",state="refused"}`,
		outside: func(s *scene) {
			s.dana.SetPassword(danaconnecttest.Username+"@"+danaconnecttest.Company, locked)
		},
		command: "worker credentials clear danaconnect-otp",
		outcome: tasks.Done,
	},
	{
		name: "expired token",
		env:  map[string]string{"DCKAP_TOKEN_EXPIRES_ON": "2026-01-31"},
		happen: func(s *scene) string {
			s.write("DCKAP_TOKEN", "the-one-of-last-year")
			s.start()
			s.parked(s.pipeCall())
			return s.pipeCall()
		},
		doctor:  [2]string{"FAIL", "expired on 2026-01-31; refused once"},
		explain: []string{"now parked", "credential dckap was refused"},
		alert:   "ErrandCredentialRefused",
		series:  `errand_credential_state{profile="dckap",state="refused"}`,
		who:     "get a new one from the vendor, set DCKAP_TOKEN",
		outside: func(s *scene) { s.write("DCKAP_TOKEN", dckaptest.Token) }, // a person has made a new one
		outcome: tasks.Done,
	},
	{
		name: "reactivated conversation",
		happen: func(s *scene) string {
			s.start()
			return s.passcode(1)
		},
		doctor:  [2]string{"warn", "code 10: danaconnect otp send: idConversation is wrong; a conversation that was activated again has a new one"},
		explain: []string{"ended invalid, code 10", "a conversation that was activated again has a new one"},
		alert:   "ErrandDeadLetters",
		series:  `errand_dead_letters{queue="otp"}`,
		who:     "the producer mends what the message names and enqueues it again",
		outcome: tasks.Invalid, // the producer must name the new one
	},
	{
		name: "vendor down",
		happen: func(s *scene) string {
			s.dinero.Inject(sandbox.Fault{Op: dinerotest.OpContactFind, Status: 503})
			s.start()
			return s.reads(25)
		},
		doctor:  [2]string{"warn", "tasks wait: too many calls failed"},
		explain: []string{"HTTP 503", "parked", "dinero-123456:breaker"},
		alert:   "ErrandAccountOpen",
		series:  `errand_breaker_state{account="dinero-123456"}`,
		outside: func(s *scene) { s.dinero.Clear("") },
		command: "worker credentials clear dinero-123456",
		outcome: tasks.Done,
	},
	{
		name: "vendor slow",
		env:  map[string]string{"DINERO_TIMEOUT": "500ms"},
		happen: func(s *scene) string {
			s.dinero.Inject(sandbox.Fault{Op: dinerotest.OpContactFind, Delay: 5 * time.Second})
			s.start()
			return s.reads(25)
		},
		doctor:  [2]string{"warn", "tasks wait: too many calls failed"},
		explain: []string{"no answer after the request was sent", "parked", "dinero-123456:breaker"},
		alert:   "ErrandAccountOpen",
		series:  `errand_breaker_state{account="dinero-123456"}`,
		outside: func(s *scene) { s.dinero.Clear("") },
		command: "worker credentials clear dinero-123456",
		outcome: tasks.Done,
	},
	{
		name: "403 by an allow-list",
		happen: func(s *scene) string {
			s.dana.Inject(sandbox.Fault{Op: danaconnecttest.OpLoad, Status: 403})
			s.start()
			load := danaconnect.ContactsLoad{
				TableCode:  danaconnecttest.TableCode,
				FieldsCode: []string{"EMAIL"},
				Rows:       [][]danaconnect.Cell{{"ana@example.com"}},
			}
			s.parked(enqueue(s, load))
			load.Rows = [][]danaconnect.Cell{{"ben@example.com"}}
			return enqueue(s, load)
		},
		doctor:  [2]string{"warn", "the vendor refused access (403)"},
		explain: []string{"now parked", "danaconnect-otp:breaker", "the vendor refused access (403)"},
		alert:   "ErrandAccountOpen",
		series:  `errand_breaker_state{account="danaconnect-otp"}`,
		outside: func(s *scene) { s.dana.Clear("") },
		command: "worker credentials clear danaconnect-otp",
		outcome: tasks.Done,
	},
	{
		name: "Redis full",
		happen: func(s *scene) string {
			s.start()
			id := s.later()
			s.config("maxmemory", "1")
			return id
		},
		doctor:  [2]string{"FAIL", "it is full (maxmemory)"},
		explain: []string{"now scheduled", "Redis takes no writes, so nothing starts: it is full"},
		alert:   "ErrandRedisRefusesWrites",
		series:  "errand_redis_refuses_writes",
		who:     "raise maxmemory, or delete what else is stored there",
		outside: func(s *scene) { s.config("maxmemory", "0") },
		outcome: tasks.Done,
	},
	{
		name: "Redis read-only",
		happen: func(s *scene) string {
			s.start()
			id := s.later()
			s.redis("REPLICAOF", "127.0.0.1", "1")
			return id
		},
		doctor:  [2]string{"FAIL", "a replica, which accepts no writes"},
		explain: []string{"now scheduled", "Redis takes no writes, so nothing starts: it is a replica"},
		alert:   "ErrandRedisRefusesWrites",
		series:  "errand_redis_refuses_writes",
		who:     "name its master in REDIS_URL",
		outside: func(s *scene) { s.redis("REPLICAOF", "NO", "ONE") }, // or another REDIS_URL
		outcome: tasks.Done,
	},
	{
		name: "too few replicas",
		happen: func(s *scene) string {
			s.start()
			id := s.later()
			s.config("min-replicas-to-write", "1")
			return id
		},
		doctor:  [2]string{"FAIL", "fewer replicas than min-replicas-to-write demands"},
		explain: []string{"now scheduled", "Redis takes no writes, so nothing starts: it has fewer replicas"},
		alert:   "ErrandRedisRefusesWrites",
		series:  "errand_redis_refuses_writes",
		command: "redis-cli CONFIG SET min-replicas-to-write 0",
		outcome: tasks.Done,
	},
	{
		name: "a worker died during a call",
		happen: func(s *scene) string {
			gate := s.dana.Hold(danaconnecttest.OpSend)
			victim := s.process()
			id := s.passcode(danaconnecttest.Conversation)
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
			defer cancel()
			if err := s.dana.WaitCalls(ctx, danaconnecttest.OpSend, 1); err != nil {
				s.t.Fatal(err)
			}
			_ = victim.Kill()
			gate.Release()
			s.start()
			return id
		},
		doctor:  [2]string{"warn", "ended unknown in the last hour: the worker that was calling the vendor died"},
		explain: []string{"ended unknown", "the worker that was calling the vendor died", "ask the vendor whether it happened"},
		alert:   "ErrandUnknownOutcome",
		series:  `errand_tasks_finished_total{outcome="unknown",type="danaconnect:otp:send"}`,
		command: "worker dead-letters replay ID --reason '…' --even-if-it-happened",
		again:   "ended unknown",
		outcome: tasks.Done,
	},
	{
		name: "clock skew",
		happen: func(s *scene) string {
			s.Now = func() time.Time { return time.Now().Add(-20 * time.Minute) }
			s.receive()
			s.start()
			s.passcode(danaconnecttest.Conversation, tasks.Notify())
			return s.newest("events")
		},
		doctor:  [2]string{"warn", "Redis' clock is 20m0s ahead of the worker's"},
		explain: []string{"HTTP 401", "the clock of worker ", "is wrong: Redis' clock is 20m0s ahead of the worker's"},
		alert:   "ErrandClockWrong",
		series:  "errand_clock_skew_seconds",
		who:     "synchronize both clocks with NTP (timedatectl set-ntp true)",
		outside: func(s *scene) {
			s.stop()
			s.Now = nil
			s.start()
		},
		again:   "ahead of the worker's",
		outcome: tasks.Done,
	},
	{
		name: "missed ticks",
		happen: func(s *scene) string {
			s.schedule()
			s.start()
			s.newest("dckap")
			s.stop()
			for missed := s.now().Add(5 * time.Second); s.now().Before(missed); { // 2 s late is on time
				time.Sleep(100 * time.Millisecond)
			}
			before := s.newest("dckap")
			s.start()
			testwait.Eventually(s.t, time.Minute, "the ticks go on", func() bool { return s.newest("dckap") != before })
			return s.newest("dckap")
		},
		doctor:  [2]string{"warn", "were missed: no worker enqueued them in time"},
		explain: []string{"enqueued by the schedule often", "ticks of its schedule were missed before"},
		alert:   "ErrandTicksMissed",
		series:  `errand_schedule_ticks_total{name="often",result="missed"}`,
		command: "worker schedule run often",
		again:   "were missed",
		outcome: tasks.Done,
	},
	{
		name: "recipient at the limit",
		env:  map[string]string{"OTP_RECIPIENT_LIMIT": "1/1h", "OTP_RECIPIENT_FIELDS": "COD1_EMAIL"},
		happen: func(s *scene) string {
			s.start()
			first := s.passcode(danaconnecttest.Conversation)
			testwait.Eventually(s.t, time.Minute, "the first is sent", func() bool { return s.outcome(first) == tasks.Done })
			return s.passcode(danaconnecttest.Conversation)
		},
		doctor:  [2]string{"ok", "1/1h for each, told apart by COD1_EMAIL"},
		explain: []string{"ended declined", "the recipient has had 1 in the last 1h", "again possible in"},
		alert:   "ErrandRecipientAtLimit",
		series:  `errand_guard_refusals_total{guard="otp-recipient"}`,
		who:     "nothing here: it is the vendor's final no, or a guard's",
		outcome: tasks.Declined, // the limit does its work
	},
}

// later enqueues a passcode that is due soon.
func (s *scene) later() string {
	s.t.Helper()
	ticket, err := tasks.Enqueue(s.t.Context(), s.w.Client, danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
	}, tasks.In(15*time.Second))
	if err != nil {
		s.t.Fatal(err)
	}
	return ticket.ID
}

func (s *scene) redis(args ...any) {
	s.t.Helper()
	if err := s.Redis.Client().Do(s.t.Context(), args...).Err(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) config(name, value string) {
	s.t.Helper()
	s.redis("CONFIG", "SET", name, value)
}

// process starts a worker in a process of its own.
func (s *scene) process() *proctest.Process {
	s.t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = []string{childMark + "=1"}
	for name, value := range s.Environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	p, err := proctest.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Kill() })
	return p
}

// What has happened is named by the doctor, the explanation of a task and an alert; the
// command that they print, run as it stands, mends it once whoever must has done his part.
func TestIncidentsNameTheirCause(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../../deploy/prometheus/errand.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range incidents {
		t.Run(i.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, i.env)
			id := i.happen(s)
			told := s.told(i, id)
			i.checkAlert(t, string(rules))
			if i.outside != nil {
				i.outside(s)
			}
			if i.command != "" {
				command := strings.ReplaceAll(i.command, "ID", id)
				if !strings.Contains(told, command) {
					t.Errorf("nobody says %q:\n%s", command, told)
				}
				s.command(command)
			}
			if !strings.Contains(told, i.who) || i.who+i.command == "" {
				t.Errorf("nobody says who must do what, %q:\n%s", i.who, told)
			}
			ended := testwait.Poll(2*time.Minute, func() bool { return s.outcome(id) == i.outcome })
			if !ended {
				t.Errorf("it is not %s afterwards:\n%s", i.outcome, s.worker("explain", id))
			}
			if i.again != "" && !testwait.Poll(time.Minute, func() bool { return !strings.Contains(s.worker("doctor"), i.again) }) {
				t.Errorf("the doctor goes on to say %q:\n%s", i.again, s.worker("doctor"))
			}
		})
	}
}

// told waits until the metrics, the explanation and the doctor tell of the incident, and
// returns what they say.
func (s *scene) told(i incident, id string) string {
	s.t.Helper()
	var doctor, explained, metrics string
	all := testwait.Poll(time.Minute, func() bool {
		explained = s.worker("explain", id)
		for _, part := range i.explain {
			if !strings.Contains(explained, part) {
				return false
			}
		}
		if _, metrics = s.w.Get(s.t, "/metrics"); !rings(metrics, i.series) {
			return false
		}
		doctor = s.worker("doctor")
		return hasLine(doctor, i.doctor[0], i.doctor[1])
	})
	if !all {
		s.t.Fatalf("not all tell of it; want %q, %q and %s\n%s\n%s", i.doctor, i.explain, i.series, doctor, explained)
	}
	return doctor + explained
}

func hasLine(text, level, part string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, level) && strings.Contains(line, part) {
			return true
		}
	}
	return false
}

// rings reports whether there is a sample of the series that is not 0.
func rings(metrics, series string) bool {
	_, value, found := strings.Cut(metrics, "\n"+series+" ")
	value, _, _ = strings.Cut(value, "\n")
	return found && value != "0"
}

// checkAlert checks that the alert exists and looks at the series.
func (i incident) checkAlert(t *testing.T, rules string) {
	t.Helper()
	_, rule, found := strings.Cut(rules, "alert: "+i.alert+"\n")
	rule, _, _ = strings.Cut(rule, "- alert:")
	if metric, _, _ := strings.Cut(i.series, "{"); !found || !strings.Contains(rule, strings.Fields(metric)[0]) {
		t.Errorf("the alert %s does not look at %s", i.alert, i.series)
	}
}
