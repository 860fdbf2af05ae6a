package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"errand.internal/internal/redistest"
	"errand.internal/internal/sandboxes"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	nowhere := map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}
	withOTP := map[string]string{
		"REDIS_URL":            "redis://127.0.0.1:1",
		"DANACONNECT_USERNAME": "u",
		"DANACONNECT_COMPANY":  "c",
		"DANACONNECT_PASSWORD": "p",
	}
	for _, tc := range []struct {
		name    string
		args    []string
		environ map[string]string
		code    int
		stdout  string
		stderr  string
	}{
		{
			name:   "version",
			args:   []string{"version"},
			code:   0,
			stdout: "errand dev (",
		},
		{
			name:   "help",
			args:   []string{"--help"},
			code:   0,
			stdout: "Run queues, scheduler and admin HTTP",
		},
		{
			name:   "no such command",
			args:   []string{"walk"},
			code:   2,
			stderr: "unexpected argument walk",
		},
		{
			name:   "no such flag",
			args:   []string{"--fast"},
			code:   2,
			stderr: "unknown flag --fast",
		},
		{
			name:   "a key",
			args:   []string{"api-key", "shop", "--types", "danaconnect:otp:send,anna:user:hash", "--read"},
			code:   0,
			stdout: ":danaconnect:otp:send,anna:user:hash,read\n",
		},
		{
			name:   "a key in JSON",
			args:   []string{"api-key", "shop", "--json"},
			code:   0,
			stdout: `"entry":"shop:`,
		},
		{
			name:   "a key with a wrong name",
			args:   []string{"api-key", "The Shop"},
			code:   2,
			stderr: "the name must have 1 to 32 lower-case letters",
		},
		{
			name:   "a key for no type",
			args:   []string{"api-key", "shop", "--types", "danaconnect:otp:sent"},
			code:   2,
			stderr: "did you mean danaconnect:otp:send",
		},
		{
			name:    "settings",
			args:    []string{"run"},
			environ: map[string]string{"REDIS_URL": "nonsense"},
			code:    2,
			stderr:  "REDIS_URL",
		},
		{
			name:    "settings, by default",
			environ: map[string]string{"WORKER_QUEUES": "opt=3"},
			code:    2,
			stderr:  `names the queue "opt"; there are otp,`,
		},
		{
			name:    "doctor",
			args:    []string{"doctor"},
			environ: nowhere,
			code:    1,
			stdout:  "connection refused (redis://127.0.0.1:1/0)\n",
		},
		{
			name:    "doctor in JSON",
			args:    []string{"doctor", "--json"},
			environ: nowhere,
			code:    1,
			stdout:  `{"ok":false,"checks":[{"name":"settings","level":"fail","seen":"no vendor has credentials`,
		},
		{
			name:   "credentials without a verb",
			args:   []string{"credentials"},
			code:   2,
			stderr: "expected \"clear",
		},
		{
			name:   "clear without a name",
			args:   []string{"credentials", "clear"},
			code:   2,
			stderr: `worker: expected "<profile>"; see worker credentials clear --help`,
		},
		{
			name:    "clear an unknown credential",
			args:    []string{"credentials", "clear", "nonesuch"},
			environ: nowhere,
			code:    2,
			stderr: `worker: no credential is named "nonesuch": none is configured here; ` +
				`run the command with the workers' settings`,
		},
		{
			name:    "clear without Redis",
			args:    []string{"credentials", "clear", "danaconnect-otp"},
			environ: withOTP,
			code:    4,
			stderr:  "worker: cannot use Redis (REDIS_URL): read the state of danaconnect-otp: ",
		},
		{
			name:    "resume events without a receiver",
			args:    []string{"events", "resume"},
			environ: nowhere,
			code:    2,
			stderr:  "EVENTS_URL: is not set",
		},
		{
			name:    "schedule without a file",
			args:    []string{"schedule"},
			environ: nowhere,
			code:    2,
			stderr:  "SCHEDULE_FILE: is not set",
		},
		{
			name:   "schedule next without a name",
			args:   []string{"schedule", "next", "3"},
			code:   2,
			stderr: "<name>",
		},
		{
			name:   "schedule next without a number",
			args:   []string{"schedule", "next", "nightly", "3"},
			code:   2,
			stderr: "<n>",
		},
		{
			name:    "schedule run without a file",
			args:    []string{"schedule", "run", "nightly"},
			environ: nowhere,
			code:    2,
			stderr:  "SCHEDULE_FILE: is not set",
		},
		{
			name:    "health without a worker",
			args:    []string{"health"},
			environ: map[string]string{"HTTP_ADDR": "127.0.0.1:1"},
			code:    1,
			stderr:  "worker: ",
		},
		{
			name:    "health without admin HTTP",
			args:    []string{"health"},
			environ: map[string]string{"HTTP_ADDR": ""},
			code:    2,
			stderr:  "HTTP_ADDR: is empty",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tc.args, tc.environ, &stdout, &stderr)
			if code != tc.code || !strings.Contains(stdout.String(), tc.stdout) ||
				!strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("exit %d\nstdout %s\nstderr %s", code, stdout.String(), stderr.String())
			}
		})
	}
}

// A command says in one line that Redis does not answer: what the Redis client has to say of
// each try is no answer.
func TestACommandWithoutRedisSaysOneLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "schedules.yaml")
	const schedules = "schedules: [{name: one, every: 1h, type: dckap:dynamic:call, payload: {listener: l, idempotent: true}}]"
	if err := os.WriteFile(file, []byte(schedules), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		childMark + "=1",
		"REDIS_URL=redis://127.0.0.1:1",
		"SCHEDULE_FILE=" + file,
		"EVENTS_URL=https://events.example/hook",
		"EVENTS_SECRET=whsec_" + strings.Repeat("MDEy", 8),
	}
	for name, value := range sandboxes.New("").Environ("http://127.0.0.1:1") {
		environ = append(environ, name+"="+value)
	}
	for _, args := range [][]string{
		{"explain", "otp_1"},
		{"pause", "otp", "--reason", "a test"},
		{"tasks"},
		{"audit"},
		{"dead-letters"},
		{"offboarding"},
		{"credentials", "clear", "dckap"},
		{"events", "resume"},
		{"schedule", "list"},
		{"schedule", "run", "one"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = environ
		_, err := cmd.Output()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != exitRedis {
			t.Errorf("%v: %v, want the exit code %d", args, err, exitRedis)
			continue
		}
		if text := string(exit.Stderr); !strings.HasPrefix(text, "worker: cannot use Redis (REDIS_URL): ") || strings.Count(text, "\n") != 1 {
			t.Errorf("%v says\n%s", args, text)
		}
	}
}

// healthySettings returns settings for which doctor finds no problem.
func healthySettings(redis *redistest.Server) map[string]string {
	base := "http://" + redis.Addr() + "/" // doctor only checks that something listens there
	return map[string]string{
		"REDIS_URL":                redis.URL(),
		"DANACONNECT_OTP_URL":      base,
		"DANACONNECT_CONTACTS_URL": base,
		"DANACONNECT_USERNAME":     "u",
		"DANACONNECT_COMPANY":      "c",
		"DANACONNECT_PASSWORD":     "p",
	}
}

func TestDoctorAndClear(t *testing.T) {
	t.Parallel()
	environ := healthySettings(redistest.New(t))
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"doctor", "--json"}, environ, &stdout, &stderr); code != 0 ||
		!strings.HasPrefix(stdout.String(), `{"ok":true,`) ||
		stderr.Len() > 0 {
		t.Errorf("doctor: exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
	stdout.Reset()
	args := []string{"credentials", "clear", "danaconnect-otp"}
	if code := run(t.Context(), args, environ, &stdout, &stderr); code != 0 ||
		!strings.HasPrefix(stdout.String(), "danaconnect-otp: nothing to clear") ||
		stderr.Len() > 0 {
		t.Errorf("clear: exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
}

func TestWorkerRefusesAnEvictingRedis(t *testing.T) {
	t.Parallel()
	environ := healthySettings(redistest.New(t, redistest.Config("maxmemory-policy", "allkeys-lru")))
	environ["LOG_LEVEL"] = "error"
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), nil, environ, &stdout, &stderr)
	want := "worker: Redis would drop tasks when its memory is full: " +
		"maxmemory-policy is allkeys-lru and must be noeviction; redis-cli CONFIG SET maxmemory-policy noeviction, " +
		"and the same in redis.conf or the service's parameters\n"
	if code != 1 || stderr.String() != want {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}

// A real worker process becomes ready, answers its health check, drains on SIGTERM,
// and stays within its limits of size and memory.
func TestWorkerProcess(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "worker")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(bin); err != nil || info.Size() > 40<<20 {
		t.Errorf("the binary has %d bytes (%v), want at most 40 MiB", info.Size(), err)
	}
	redis := redistest.New(t)
	environ := []string{"REDIS_URL=" + redis.URL(), "HTTP_ADDR=127.0.0.1:0"}
	for name, value := range sandboxes.New("").Environ("http://127.0.0.1:1") {
		environ = append(environ, name+"="+value)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Env = environ
	log := &lineWaiter{found: make(chan string, 1), substring: `"http":"`}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(log.wait(t), `"http":"`)
	addr, _, _ := strings.Cut(rest, `"`)
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if code := run(ctx, []string{"health"}, map[string]string{"HTTP_ADDR": addr}, &stdout, &stderr); code != 0 {
		t.Errorf("health: %d %s", code, stderr.String())
	}
	if kb := residentKB(t, cmd.Process.Pid); kb > 40<<10 {
		t.Errorf("the idle worker holds %d KiB, want at most 40 MiB", kb)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
