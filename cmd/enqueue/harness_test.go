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

// The user and the payloads of these tests.
const (
	user        = "canary-user-81"
	otpPayload  = `{"idConversation":824541,"values":{"COD1_EMAIL":"canary-82@example.com"},"type":1,"length":6}`
	userPayload = `{"userId":"` + user + `"}`
	token       = "canary-token-83"
	patience    = "30s" // of a --wait that is expected to end sooner
)

// rig is a Redis, the vendors' sandboxes, and the command.
type rig struct {
	t       *testing.T
	redis   *redistest.Server
	environ map[string]string
	otp     *danaconnecttest.Sandbox
	anna    *annatest.Sandbox
	vendors tasks.Vendors
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{
		t:     t,
		redis: redistest.New(t),
		otp:   danaconnecttest.New(danaconnecttest.Options{}),
		anna:  annatest.New(annatest.Options{}),
	}
	r.environ = map[string]string{"REDIS_URL": r.redis.URL()}
	r.anna.PutUser(user, true)
	r.anna.PutToken(token)
	account := r.anna.Account()
	var err error
	r.vendors.DANAConnectOTP, err = danaconnect.NewOTP(danaconnect.OTPConfig{
		Username: danaconnecttest.Username,
		Company:  danaconnecttest.Company,
		Password: secret.New(danaconnecttest.Password),
		OTPURL:   clientstest.Serve(t, r.otp, danaconnecttest.Mount) + "otp/1.0/",
	}, tokens.OpenGate(), clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	r.vendors.AnnA, err = anna.New(anna.Config{
		URL:         clientstest.Serve(t, r.anna, "/anna/"),
		CompanyHash: secret.New(account.CompanyHash),
		User:        account.User,
		Password:    secret.New(account.Password),
	}, tokens.Fixed(token), clients.NewCaller(anna.Vendor, clients.Timeouts{}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// work starts a worker in this process, which runs until the test ends.
func (r *rig) work(ring *seal.Ring) {
	r.t.Helper()
	target, err := redisconn.Parse(r.redis.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	servers, general := target.Open(redisconn.Servers), target.Open(redisconn.General)
	s, err := queue.NewServer(queue.Config{
		Redis:       servers,
		General:     general,
		Store:       ledger.New(general),
		Ring:        ring,
		Queues:      map[string]int{"otp": 10, "anna": 10, "polls": 5},
		Definitions: tasks.Definitions(r.vendors),
		Owner:       "w-" + r.t.Name(),
		Timeout:     func(string) time.Duration { return 10 * time.Second },
		Grace:       15 * time.Second,
		Metrics:     queue.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.Nop(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		s.Shutdown()
		_ = servers.Close()
		_ = general.Close()
	})
}

// done is one finished run of the command.
type done struct {
	code           int
	stdout, stderr string
}

func (r *rig) run(args ...string) done { return r.with(r.t.Context(), nil, args...) }

// with runs the command under a context of the test's own.
func (r *rig) with(ctx context.Context, stdin io.Reader, args ...string) done {
	r.t.Helper()
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, maps.Clone(r.environ), stdin, &stdout, &stderr)
	return done{code, stdout.String(), stderr.String()}
}

// want runs the command and checks its exit code.
func (r *rig) want(code int, args ...string) done {
	r.t.Helper()
	d := r.run(args...)
	if d.code != code {
		r.t.Fatalf("enqueue %q: exit code %d, want %d\nstdout: %s\nstderr: %s", args, d.code, code, d.stdout, d.stderr)
	}
	return d
}

// decoded is what --json printed.
type decoded struct {
	ID, Type, Queue, State, Outcome, Code, Message string
	Duplicate                                      bool
	Attempts                                       int
	Data                                           map[string]any
	History                                        []entry
}

func (d done) report(t *testing.T) decoded {
	t.Helper()
	var out decoded
	dec := json.NewDecoder(strings.NewReader(d.stdout))
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("%v: %q (%s)", err, d.stdout, d.stderr)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("stdout has more than one object: %q", d.stdout)
	}
	return out
}

// nothingStored checks that the command has not touched Redis.
func (r *rig) nothingStored() {
	r.t.Helper()
	n, err := r.redis.Client().DBSize(context.Background()).Result()
	if err != nil || n != 0 {
		keys, _ := r.redis.Client().Keys(context.Background(), "*").Result()
		r.t.Errorf("%d keys in Redis (%v), want none: %v", n, err, keys)
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

// golden compares JSON output, without what differs every time.
func golden(t *testing.T, file, text string) {
	t.Helper()
	for _, v := range volatile {
		text = v.find.ReplaceAllString(text, v.put)
	}
	clientstest.Golden(t, "testdata/"+file, []byte(strings.TrimSpace(text)))
}
