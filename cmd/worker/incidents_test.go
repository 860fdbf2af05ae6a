package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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
	// doctor is the level and a part of the doctor's line that names the cause; none if it
	// is not the doctor's business.
	doctor [2]string
	// explain are parts of the explanation.
	explain []string
	// alert is the alert that rings, and series the sample that has it ring.
	alert  string
	series string
	// outside is what is done outside of Errand, at the vendor or to Redis; nil for nothing.
	outside func(s *scene)
	// command is printed by one of the two, and mends it; ID stands for the task's. "" if
	// who is outside mends it.
	command string
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

func enqueue[R any](s *scene, task tasks.Task[R]) string {
	s.t.Helper()
	client := s.Client(s.t)
	ticket, err := tasks.Enqueue(s.t.Context(), client, task)
	if err != nil {
		s.t.Fatal(err)
	}
	return ticket.ID
}

func (s *scene) passcode(conversation int64) string {
	s.t.Helper()
	return enqueue(s, danaconnect.OTPSend{
		IDConversation: conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
	})
}

func (s *scene) pipeCall() string {
	s.t.Helper()
	return enqueue(s, dckap.DynamicCall{Listener: dckaptest.Listener, Body: map[string]any{"order": "1"}})
}

// reads enqueues so many reads of contacts, and returns the last one.
func (s *scene) reads(n int) (id string) {
	s.t.Helper()
	for range n {
		id = enqueue(s, dinero.APICall{
			OrganizationID: dinerotest.Organization,
			Method:         "GET",
			Path:           "contacts",
		})
	}
	return id
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
		series:  `errand_credential_state{profile="danaconnect-otp",state="refused"} 1`,
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
		series:  `errand_credential_state{profile="dckap",state="refused"} 1`,
		outside: func(s *scene) { s.write("DCKAP_TOKEN", dckaptest.Token) }, // a person has made a new one
		outcome: tasks.Done,
	},
	{
		name: "reactivated conversation",
		happen: func(s *scene) string {
			s.start()
			return s.passcode(1)
		},
		explain: []string{"ended invalid, code 10", "a conversation that was activated again has a new one", "enqueue it again"},
		alert:   "ErrandDeadLetters",
		series:  `errand_dead_letters{queue="otp"} 1`,
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
		explain: []string{"parked", "dinero-123456:breaker"},
		alert:   "ErrandAccountOpen",
		series:  `errand_breaker_state{account="dinero-123456"} 2`,
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
		explain: []string{"parked", "dinero-123456:breaker"},
		alert:   "ErrandAccountOpen",
		series:  `errand_breaker_state{account="dinero-123456"} 2`,
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
		series:  `errand_breaker_state{account="danaconnect-otp"} 2`,
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
		series:  "errand_redis_refuses_writes 1",
		outside: func(s *scene) { s.config("maxmemory", "0") }, // whoever runs Redis
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
		series:  "errand_redis_refuses_writes 1",
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
		series:  "errand_redis_refuses_writes 1",
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
		doctor:  [2]string{"ok", "1 live"},
		explain: []string{"ended unknown", "the worker that was calling the vendor died", "ask the vendor whether it happened"},
		alert:   "ErrandUnknownOutcome",
		series:  `errand_tasks_finished_total{outcome="unknown",type="danaconnect:otp:send"} 1`,
		command: "worker dead-letters replay ID --reason '…' --even-if-it-happened",
		outcome: tasks.Done,
	},
	{
		name: "recipient at the limit",
		env:  map[string]string{"OTP_RECIPIENT_LIMIT": "1/1h"},
		happen: func(s *scene) string {
			s.start()
			first := s.passcode(danaconnecttest.Conversation)
			testwait.Eventually(s.t, time.Minute, "the first is sent", func() bool { return s.outcome(first) == tasks.Done })
			return s.passcode(danaconnecttest.Conversation)
		},
		explain: []string{"ended declined", "the recipient has had 1 in the last 1h", "nothing here"},
		series:  `errand_tasks_finished_total{outcome="declined",type="danaconnect:otp:send"} 1`,
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
			ended := testwait.Poll(time.Minute, func() bool { return s.outcome(id) == i.outcome })
			if !ended {
				t.Errorf("it is not %s afterwards:\n%s", i.outcome, s.worker("explain", id))
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
		if _, metrics = s.w.Get(s.t, "/metrics"); !strings.Contains(metrics, "\n"+i.series+"\n") {
			return false
		}
		doctor = s.worker("doctor")
		return i.doctor[0] == "" || hasLine(doctor, i.doctor[0], i.doctor[1])
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

// checkAlert checks that the alert exists and looks at the series.
func (i incident) checkAlert(t *testing.T, rules string) {
	t.Helper()
	if i.alert == "" {
		return
	}
	_, rule, found := strings.Cut(rules, "alert: "+i.alert+"\n")
	rule, _, _ = strings.Cut(rule, "- alert:")
	if metric, _, _ := strings.Cut(i.series, "{"); !found || !strings.Contains(rule, strings.Fields(metric)[0]) {
		t.Errorf("the alert %s does not look at %s", i.alert, i.series)
	}
}
