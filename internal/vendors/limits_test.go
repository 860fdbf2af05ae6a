package vendors

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/limits"
	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// clock is a time that passes when somebody sleeps.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// books is Dinero's sandbox and workers of one fleet, all on one clock.
type books struct {
	*dinerotest.Sandbox
	clock   *clock
	workers []*dinero.Client
}

func startBooks(t *testing.T, quota int, rate settings.Rate) *books {
	t.Helper()
	c := &clock{now: time.Now()}
	b := &books{
		Sandbox: dinerotest.New(dinerotest.Options{Quota: quota, Now: c.Now, TokenLife: 24 * time.Hour}),
		clock:   c,
	}
	base := clientstest.Serve(t, b.Sandbox, dinerotest.Mount)
	server := redistest.New(t)
	for range 2 {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = rdb.Close() })
		accounts, err := Config{Dinero: dinero.Config{
			ClientID:     dinerotest.ClientID,
			ClientSecret: secret.New(dinerotest.ClientSecret),
			APIKeys: secret.New(
				dinerotest.Organization + "=" + dinerotest.APIKey + "," + dinerotest.Organization2 + "=" + dinerotest.APIKey2,
			),
			TokenURL: base + dinerotest.TokenPath,
			APIURL:   base,
			Rate:     rate,
		}}.Open(Shared{Redis: rdb, Limits: []limits.Option{limits.WithClock(c)}, Options: []tokens.Option{tokens.WithRedisBudget(20 * time.Second)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(accounts.Close)
		b.workers = append(b.workers, accounts.Dinero)
	}
	return b
}

// call is one attempt of a task; again is when the limits want it back.
func (b *books) call(t *testing.T, worker int, organization, task string) (again time.Duration) {
	t.Helper()
	ctx, attempt := clients.WithAttempt(t.Context(), nil)
	attempt.Task, attempt.Deadline = task, time.Now().Add(24*time.Hour)
	_, err := b.workers[worker].Call(
		ctx,
		dinero.Request{Organization: organization, Method: http.MethodGet, Path: "contacts"},
	)
	if waits, ok := errors.AsType[*limits.WaitError](err); ok && !attempt.Sent() {
		return waits.RetryAfter
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// The vendor admits 100 calls a minute. 600 in a row by two workers, with 95/1m:
// it never has to refuse one, and the quota is well used.
func TestDineroNeverSeesItsQuotaUsedUp(t *testing.T) {
	t.Parallel()
	b := startBooks(t, 100, settings.Rate{N: 95, Per: time.Minute})
	began := b.clock.Now()
	for i := range 600 {
		for again := b.call(t, i%2, dinerotest.Organization, "dinero-1"); again > 0; again = b.call(t, i%2, dinerotest.Organization, "dinero-1") {
			_ = b.clock.Sleep(t.Context(), again)
		}
	}
	if took := b.clock.Now().Sub(began); took < 6*time.Minute || took > 7*time.Minute {
		t.Errorf("600 calls in %s", took)
	}
	// Every page of a lookup counts, too; logins do not.
	if n := b.Calls(dinerotest.OpContactFind); n != 600 {
		t.Errorf("%d calls", n)
	}
	_ = b.clock.Sleep(t.Context(), time.Minute)
	if _, _, err := b.workers[0].ReconcileContact(t.Context(), dinerotest.Organization, "x"); err != nil {
		t.Error(err)
	}
	began = b.clock.Now()
	for range 5 {
		b.call(t, 0, dinerotest.Organization2, "dinero-2")
	}
	if took := b.clock.Now().Sub(began); took != 0 {
		t.Errorf("the other organization waited %s", took)
	}
}

// A quota that others have used up: one call finds out, for the whole fleet, and
// only for that organization.
func TestDineroQuotaIsUsedUp(t *testing.T) {
	t.Parallel()
	b := startBooks(t, 5, settings.Rate{N: 1000, Per: time.Minute})
	for range 5 {
		b.call(t, 0, dinerotest.Organization, "dinero-1")
	}
	_, err := b.workers[0].Call(
		t.Context(),
		dinero.Request{Organization: dinerotest.Organization, Method: http.MethodGet, Path: "contacts"},
	)
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.RateLimited || e.Status != http.StatusTooManyRequests ||
		e.RetryAfter != time.Minute ||
		e.NotSent {
		t.Fatalf("%+v", err)
	}
	calls := b.Calls(dinerotest.OpContactFind)
	for worker := range 2 {
		if again := b.call(t, worker, dinerotest.Organization, "dinero-1"); again < 59*time.Second ||
			again > time.Minute {
			t.Errorf("worker %d: again in %s, want a minute", worker, again)
		}
	}
	if n := b.Calls(dinerotest.OpContactFind); n != calls {
		t.Errorf("%d calls while the quota was used up", n-calls)
	}
	if again := b.call(t, 1, dinerotest.Organization2, "dinero-2"); again != 0 {
		t.Errorf("the other organization waits %s", again)
	}
	_ = b.clock.Sleep(t.Context(), time.Minute)
	if again := b.call(t, 1, dinerotest.Organization, "dinero-1"); again != 0 {
		t.Errorf("after the minute: again in %s", again)
	}
}

// Which accounts have limits of their own, and which share them.
func TestAccountsWithLimits(t *testing.T) {
	t.Parallel()
	rate, atOnce := settings.Rate{N: 5, Per: time.Second}, settings.Count(3)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	cfg := Config{
		DANAConnect: danaconnect.OTPConfig{
			Username: "u",
			Company:  "c",
			Password: secret.New("p"),
			Rate:     rate,
		},
		DANAConnectAPI: danaconnect.APIConfig{ClientID: "c", ClientSecret: secret.New("s"), Concurrency: atOnce},
		AnnA: anna.Config{
			URL:         web.URL,
			CompanyHash: secret.New("h"),
			User:        "u",
			Password:    secret.New("p"),
			Rate:        rate,
			Concurrency: atOnce,
		},
		DCKAP: dckap.Config{Token: secret.New("t"), Rate: rate},
		Dinero: dinero.Config{
			ClientID:     "c",
			ClientSecret: secret.New("s"),
			APIKeys:      secret.New("1=a,2=b"),
			Rate:         rate,
		},
	}
	describe := func(c Config) []string {
		t.Helper()
		accounts, err := c.Open(nowhere(t))
		if err != nil {
			t.Fatal(err)
		}
		defer accounts.Close()
		var all []string
		for _, l := range accounts.Limits {
			all = append(all, l.Account().Name+": "+l.Account().String())
		}
		return all
	}
	want := []string{
		"danaconnect-otp: 5/1s",
		"danaconnect-api: 3 at once",
		"anna: 5/1s, 3 at once",
		"dckap: 5/1s",
		"dinero-1: 5/1s",
		"dinero-2: 5/1s",
	}
	if got := describe(cfg); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	cfg.DANAConnect.Rate = settings.Rate{}
	cfg.DANAConnectAPI.Concurrency = 0
	cfg.AnnA.Rate = settings.Rate{}
	cfg.AnnA.Concurrency = 0
	cfg.DCKAP.Rate, cfg.Dinero.Rate = settings.Rate{}, settings.Rate{}
	if got := describe(cfg); len(got) != 0 {
		t.Errorf("without any: %q", got)
	}
}

// A new password is not a new quota; another account is.
func TestWhoAnAccountIs(t *testing.T) {
	t.Parallel()
	otp := func(user, password string) tokens.Profile {
		return danaconnect.OTPConfig{Username: user, Company: "c", Password: secret.New(password)}.Profile()
	}
	books := func(client, key string) tokens.Profile {
		return dinero.Config{
			ClientID:     client,
			ClientSecret: secret.New("s"),
			APIKeys:      secret.New("1=" + key + ",2=" + key),
		}.Profile(
			"1",
		)
	}
	pipes := func(token string) tokens.Profile { return dckap.Config{Token: secret.New(token)}.Profile() }
	for _, tt := range []struct {
		name string
		a, b tokens.Profile
		same bool
	}{
		{"new password", otp("u", "p"), otp("u", "q"), true},
		{"another user", otp("u", "p"), otp("v", "p"), false},
		{"new key of an organization", books("c", "k"), books("c", "l"), true},
		{"another client of an organization", books("c", "k"), books("d", "k"), false},
		{"a token is all that there is", pipes("t"), pipes("u"), false},
	} {
		if same := slices.Equal(identity(tt.a), identity(tt.b)); same != tt.same {
			t.Errorf("%s: same %v", tt.name, same)
		}
	}
}
