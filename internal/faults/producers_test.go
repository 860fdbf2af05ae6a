package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/fleet"
	"errand.internal/internal/proctest"
	"errand.internal/internal/record"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// producerMark in the environment makes the test binary a producer: single or bulk.
const producerMark = "FAULTS_PRODUCER"

// keyedPasscode is a passcode that a producer enqueues with a key.
type keyedPasscode struct {
	Key      string
	Passcode danaconnect.OTPSend
}

// runProducer enqueues the passcodes that it reads, and writes a line before each.
func runProducer(mode string) error {
	var list []keyedPasscode
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return err
	}
	client, err := tasks.Open(environ["REDIS_URL"], tasks.EncryptionKeys(environ["ENCRYPTION_KEYS"]))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	payloads := make([]danaconnect.OTPSend, len(list))
	for i, p := range list {
		payloads[i] = p.Passcode
	}
	options := func(i int) []tasks.Option {
		fmt.Println(i)
		return []tasks.Option{tasks.Key(list[i].Key)}
	}
	if mode == "bulk" {
		_, err := tasks.EnqueueAll(context.Background(), client, payloads, options)
		return err
	}
	for i, p := range payloads {
		if _, err := tasks.Enqueue(context.Background(), client, p, options(i)...); err != nil {
			return err
		}
	}
	return nil
}

// Producers are killed at random moments while they enqueue tasks with keys, one
// after the other or in bulk. Each key has a task or is free. Somebody else enqueues
// all of them again, and each task ends once.
func TestProducersKilled(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"single", "bulk"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := newRand(t)
			h := newHarness(t, fleet.Options{Env: map[string]string{"WORKER_QUEUES": "otp=20"}})
			h.startWorkers(2)
			kills := fleet.Size(8, 100)
			before := 0
			for range kills {
				before += h.killProducer(r, mode)
			}
			report := h.finish(waitLimit, tasks.Done)
			all := report.Outcomes[tasks.Done]
			t.Logf("%d kills; %d of %d tasks were enqueued before", kills, before, all)
			if before == 0 || before == all {
				t.Errorf("%d of %d tasks were enqueued before the kills: they met no producer at work", before, all)
			}
			h.StopAll()
		})
	}
}

// killProducer has a producer enqueue tasks, kills it, checks the keys, and enqueues
// all of the tasks again. It returns how many the producer had enqueued.
func (h *harness) killProducer(r *rand.Rand, mode string) (enqueued int) {
	h.t.Helper()
	n, earliest := 100, 1
	if mode == "bulk" {
		// It writes the lines of all that are enqueued at once before the first is stored.
		n, earliest = 500, 256
	}
	list := make([]keyedPasscode, n)
	for i := range list {
		list[i] = keyedPasscode{Key: h.Name("key"), Passcode: h.NewPasscode()}
	}
	h.runAndKill(mode, list, earliest+r.IntN(len(list)-earliest+1), time.Duration(r.IntN(1000))*time.Microsecond)
	enqueued = h.checkKeys(list)
	fleet.Parallel(len(list), func(i int) {
		h.Enqueue(list[i].Passcode, tasks.Key(list[i].Key))
	})
	if n := h.checkKeys(list); n != len(list) {
		h.t.Errorf("%d of %d keys have a task after they were enqueued again", n, len(list))
	}
	return enqueued
}

// runAndKill starts a producer, and kills it shortly after it has written n lines.
func (h *harness) runAndKill(mode string, list []keyedPasscode, n int, shortly time.Duration) {
	h.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	input, err := json.Marshal(list)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(h.t.Context(), binary)
	settings := h.Settings()
	cmd.Env = []string{
		producerMark + "=" + mode,
		"REDIS_URL=" + settings["REDIS_URL"],
		"ENCRYPTION_KEYS=" + settings["ENCRYPTION_KEYS"],
	}
	cmd.Stdin = strings.NewReader(string(input))
	cmd.Stderr = os.Stderr
	// Unlike cmd.StdoutPipe, it can be read when the producer has ended.
	lines, stdout, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = lines.Close() }()
	cmd.Stdout = stdout
	p, err := proctest.Start(cmd)
	_ = stdout.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	text := bufio.NewScanner(lines)
	for range n {
		if !text.Scan() {
			h.t.Fatalf("a producer ended before it was killed: %v", text.Err())
		}
	}
	fleet.Elapse(h.t, shortly)
	if err := p.Kill(); err != nil {
		h.t.Fatal(err)
	}
}

// checkKeys asserts that each key has a task that its record and asynq know, or is
// free, and returns how many have one.
func (h *harness) checkKeys(list []keyedPasscode) (taken int) {
	h.t.Helper()
	ctx := h.t.Context()
	prefix := record.Prefix("otp")
	salt := h.Conn().Get(ctx, prefix+"salt").Val()
	for _, p := range list {
		key := prefix + "key:" + record.Digest(salt, "key", p.Passcode.Type(), p.Key)
		text, err := h.Conn().Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		id, _, _ := strings.Cut(text, " ")
		taken++
		for _, name := range []string{fleet.RecordKey(id), "asynq:{otp}:t:" + id} {
			if h.Conn().Exists(ctx, name).Val() == 0 {
				h.t.Errorf("a key names %s, and there is no %s", id, name)
			}
		}
	}
	return taken
}
