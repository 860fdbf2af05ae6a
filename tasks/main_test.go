package tasks_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
	"errand.internal/tasks"
)

// world is a Redis, the vendors' sandboxes and a worker between them.
type world struct {
	redis *redistest.Server
	otp   *danaconnecttest.Sandbox
	anna  *annatest.Sandbox
	web   *httptest.Server
	stop  []func()
}

func newWorld(server *redistest.Server) *world {
	w := &world{
		redis: server,
		otp:   danaconnecttest.New(danaconnecttest.Options{}),
		anna:  annatest.New(annatest.Options{}),
	}
	w.anna.PutUser("u-1001", true)
	w.anna.PutUser("u-1002", false)
	mux := http.NewServeMux()
	sandbox.Mount(mux, danaconnecttest.Mount, w.otp)
	sandbox.Mount(mux, "/anna/", w.anna)
	w.web = httptest.NewServer(mux)
	w.stop = append(w.stop, w.web.Close)
	return w
}

func (w *world) close() {
	for i := len(w.stop) - 1; i >= 0; i-- {
		w.stop[i]()
	}
}

// connect makes the clients of the accounts that the sandboxes know.
func (w *world) connect(timeout time.Duration) (tasks.Vendors, error) {
	limits := clients.Timeouts{Call: timeout}
	otp, err := danaconnect.NewOTP(danaconnect.OTPConfig{
		Username: danaconnecttest.Username,
		Company:  danaconnecttest.Company,
		Password: secret.New(danaconnecttest.Password),
		OTPURL:   w.web.URL + danaconnecttest.Mount + "otp/1.0/",
	}, tokens.OpenGate(), clients.NewCaller(danaconnect.Vendor, limits, nil, nil))
	if err != nil {
		return tasks.Vendors{}, err
	}
	contacts, api, err := w.connectDANAConnect(limits)
	if err != nil {
		return tasks.Vendors{}, err
	}
	account := w.anna.Account()
	cfg := anna.Config{
		URL:         w.web.URL + "/anna",
		CompanyHash: secret.New(account.CompanyHash),
		User:        account.User,
		Password:    secret.New(account.Password),
	}
	caller := clients.NewCaller(anna.Vendor, limits, nil, nil)
	login, err := anna.NewLogin(cfg, caller)
	if err != nil {
		return tasks.Vendors{}, err
	}
	profile := cfg.Profile()
	profile.Fetch = login.Fetch
	source := tokens.NewSource(redis.NewClient(&redis.Options{Addr: w.redis.Addr()}), nil, profile)
	w.stop = append(w.stop, source.Close)
	users, err := anna.New(cfg, source, caller)
	return tasks.Vendors{
		DANAConnectOTP:      otp,
		DANAConnectContacts: contacts,
		DANAConnectAPI:      api,
		AnnA:                users,
	}, err
}

// work starts a worker that runs all queues.
func (w *world) work(vendors tasks.Vendors) error {
	server, err := queue.NewServer(queue.Config{
		Redis:   redis.NewClient(&redis.Options{Addr: w.redis.Addr()}),
		General: redis.NewClient(&redis.Options{Addr: w.redis.Addr()}),
		Store:   ledger.New(redis.NewClient(&redis.Options{Addr: w.redis.Addr()})),
		Queues: map[string]int{
			"otp":         10,
			"danaconnect": 5,
			"anna":        5,
			"polls":       5,
		},
		Definitions: tasks.Definitions(vendors),
		Owner:       fmt.Sprint("test-", time.Now().UnixNano()),
		Timeout:     func(string) time.Duration { return 5 * time.Second },
		Grace:       10 * time.Second,
		Metrics:     queue.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.New(io.Discard),
	})
	if err != nil {
		return err
	}
	w.stop = append(w.stop, server.Shutdown)
	return server.Start()
}

func startWorld(t *testing.T) (*world, *tasks.Client) {
	t.Helper()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	vendors, err := w.connect(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.work(vendors); err != nil {
		t.Fatal(err)
	}
	return w, open(t, w.redis.URL())
}

func open(t *testing.T, url string) *tasks.Client {
	t.Helper()
	c, err := tasks.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// redisURL is the Redis of the examples.
var redisURL string

// mailbox reads the code that the examples' person got.
var mailbox func(idRequest string) string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		server, err := redistest.Launch()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = server.Close() }()
		w := newWorld(server)
		defer w.close()
		vendors, err := w.connect(2 * time.Second)
		if err == nil {
			err = w.work(vendors)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		redisURL, mailbox = server.URL(), w.otp.Code
		return m.Run()
	}())
}

func wait[R any](t *testing.T, ticket *tasks.Ticket[R]) (R, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return ticket.Wait(ctx)
}
