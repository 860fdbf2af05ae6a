package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
	"errand.internal/tasks"
)

func TestMain(m *testing.M) {
	redisconn.LogTo(zerolog.Nop()) // as main does
	os.Exit(m.Run())
}

// The user, token and payloads of these tests.
const (
	user        = "canary-user-81"
	otpPayload  = `{"idConversation":824541,"values":{"COD1_EMAIL":"canary-82@example.com"},"type":1,"length":6}`
	userPayload = `{"userId":"` + user + `"}`
	token       = "canary-token-83"
	waitTimeout = "30s" // for a --wait that is expected to end earlier
)

// harness holds a Redis, the vendors' sandboxes, and the command.
type harness struct {
	t       *testing.T
	redis   *redistest.Server
	environ map[string]string
	otp     *danaconnecttest.Sandbox
	anna    *annatest.Sandbox
	vendors tasks.Vendors
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{
		t:     t,
		redis: redistest.New(t),
		otp:   danaconnecttest.New(danaconnecttest.Options{}),
		anna:  annatest.New(annatest.Options{}),
	}
	h.environ = map[string]string{"REDIS_URL": h.redis.URL()}
	h.anna.PutUser(user, true)
	h.anna.PutToken(token)
	account := h.anna.Account()
	var err error
	h.vendors.DANAConnectOTP, err = danaconnect.NewOTP(danaconnect.OTPConfig{
		Username: danaconnecttest.Username,
		Company:  danaconnecttest.Company,
		Password: secret.New(danaconnecttest.Password),
		OTPURL:   clientstest.Serve(t, h.otp, danaconnecttest.Mount) + "otp/1.0/",
	}, tokens.OpenGate(), clients.NewCaller(danaconnect.Vendor, clients.Limits{}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	h.vendors.AnnA, err = anna.New(anna.Config{
		URL:         clientstest.Serve(t, h.anna, "/anna/"),
		CompanyHash: secret.New(account.CompanyHash),
		User:        account.User,
		Password:    secret.New(account.Password),
	}, tokens.Fixed(token), clients.NewCaller(anna.Vendor, clients.Limits{}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// startWorker starts a worker in this process and stops it when the test ends.
func (h *harness) startWorker(ring *seal.Ring) {
	h.t.Helper()
	target, err := redisconn.Parse(h.redis.URL())
	if err != nil {
		h.t.Fatal(err)
	}
	servers, general := target.Open(redisconn.Servers), target.Open(redisconn.General)
	s, err := queue.NewServer(queue.Config{
		Redis:       servers,
		General:     general,
		Store:       ledger.New(general),
		Ring:        ring,
		Queues:      map[string]int{"otp": 10, "anna": 10, "polls": 5},
		Definitions: tasks.Definitions(h.vendors),
		Owner:       "w-" + h.t.Name(),
		Timeout:     func(string) time.Duration { return 10 * time.Second },
		Grace:       15 * time.Second,
		Metrics:     queue.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.Nop(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		s.Shutdown()
		_ = servers.Close()
		_ = general.Close()
	})
}

// result is the result of one run of the command.
type result struct {
	code           int
	stdout, stderr string
}

func (h *harness) run(args ...string) result { return h.runWith(h.t.Context(), nil, args...) }

// runWith runs the command with a context and standard input.
func (h *harness) runWith(ctx context.Context, stdin io.Reader, args ...string) result {
	h.t.Helper()
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, maps.Clone(h.environ), stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// wantExit runs the command and checks its exit code.
func (h *harness) wantExit(code int, args ...string) result {
	h.t.Helper()
	d := h.run(args...)
	if d.code != code {
		h.t.Fatalf("enqueue %q: exit code %d, want %d\nstdout: %s\nstderr: %s", args, d.code, code, d.stdout, d.stderr)
	}
	return d
}

// jsonReport is the object that --json prints.
type jsonReport struct {
	ID, Type, Queue, State, Outcome, Code, Message string
	Duplicate                                      bool
	Attempts                                       int
	Data                                           map[string]any
	History                                        []historyEntry
}

func (d result) report(t *testing.T) jsonReport {
	t.Helper()
	var out jsonReport
	dec := json.NewDecoder(strings.NewReader(d.stdout))
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("%v: %q (%s)", err, d.stdout, d.stderr)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("stdout has more than one object: %q", d.stdout)
	}
	return out
}

// wantNothingStored checks that Redis is empty.
func (h *harness) wantNothingStored() {
	h.t.Helper()
	n, err := h.redis.Client().DBSize(context.Background()).Result()
	if err != nil || n != 0 {
		keys, _ := h.redis.Client().Keys(context.Background(), "*").Result()
		h.t.Errorf("%d keys in Redis (%v), want none: %v", n, err, keys)
	}
}

func wantText(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

var volatile = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`(otp|anna|polls)-[0-9a-z]{20,}`), "$1-ID"},
	{regexp.MustCompile(`"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`), `"at":"TIME"`},
	{regexp.MustCompile(`"durationMs":\d+`), `"durationMs":0`},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
}

// golden compares JSON output with a golden file, except for IDs and times.
func golden(t *testing.T, file, text string) {
	t.Helper()
	for _, v := range volatile {
		text = v.find.ReplaceAllString(text, v.put)
	}
	clientstest.Golden(t, "testdata/"+file, []byte(strings.TrimSpace(text)))
}
