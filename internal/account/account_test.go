package account

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/danaconnect"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
	"errand.internal/internal/admission"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// unreachable has a Redis that nothing listens on. Opening an account does not need
// one: Redis is first asked when a call is made.
func unreachable(t *testing.T) Shared {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	return Shared{
		Redis: rdb,
	}
}

func pipeProfile(name string) admission.Profile {
	return admission.Profile{Name: "dckap-pipe-" + name}
}

func TestGatesAreMadeOnceAndBounded(t *testing.T) {
	t.Parallel()
	a := New(unreachable(t))
	gates := a.Gates(pipeProfile, nil)
	first := gates.Of("a")
	if gates.Of("a") != first {
		t.Error("the same name has two gates")
	}
	if gates.Of("b") == first {
		t.Error("two names share a gate")
	}
	for i := range maxGates {
		gates.Of(fmt.Sprint("n", i))
	}
	if len(gates.made) != maxGates {
		t.Errorf("%d gates were made, want %d", len(gates.made), maxGates)
	}
	if _, shared := gates.Of("one more").(*admission.Breaker); shared {
		t.Error("a name beyond the bound has a shared gate")
	}
	if gates.find("one more") != nil {
		t.Error("a name beyond the bound has a gate")
	}
	a.Close()
	if _, err := first.Acquire(t.Context()); err == nil {
		t.Error("a closed gate admits calls")
	}
}

func TestKnownGatesAreBlockersFromTheStart(t *testing.T) {
	t.Parallel()
	a := New(unreachable(t))
	defer a.Close()
	gates := a.Gates(pipeProfile, []string{"1", "2"})
	gates.Of("3")
	var names []string
	for _, b := range a.Blockers {
		names = append(names, b.Name)
	}
	if want := []string{"dckap-pipe-1", "dckap-pipe-2"}; !slices.Equal(names, want) {
		t.Errorf("blockers %q, want %q", names, want)
	}
}

func TestDryRunHasNeitherCredentialsNorLimits(t *testing.T) {
	t.Parallel()
	a := DryRun(http.DefaultTransport)
	profile := admission.Profile{Name: "p", ExpiresOn: time.Now()}
	if token, err := a.Source(tokens.Profile{Profile: profile}).Get(t.Context()); err != nil || token.Value.Reveal() != Placeholder.Reveal() {
		t.Errorf("token %v, %v, want the placeholder", token, err)
	}
	if _, err := a.Gate(profile).Acquire(t.Context()); err != nil {
		t.Errorf("the gate of a dry run is closed: %v", err)
	}
	if _, err := a.Gates(pipeProfile, []string{"1"}).Of("1").Acquire(t.Context()); err != nil {
		t.Errorf("the pipe's gate of a dry run is closed: %v", err)
	}
	if a.Admitter(profile, admission.Limits{Concurrency: 1}, settings.Share{Percent: 70, Within: time.Minute}) != nil {
		t.Error("a dry run has an admitter")
	}
	if a.Guard("g", "recipient", settings.Rate{N: 1, Per: time.Second}) != nil {
		t.Error("a dry run has a guard")
	}
	if len(a.Credentials)+len(a.Blockers)+len(a.Expiring)+len(a.Limiters)+len(a.Outages) != 0 {
		t.Errorf("a dry run has parts: %+v", a)
	}
}

// A new password does not open a new quota; another account does.
func TestIdentityOfAnAccount(t *testing.T) {
	t.Parallel()
	basic := func(user, password string) admission.Profile {
		return danaconnect.BasicConfig{
			Username: user,
			Company:  "c",
			Password: secret.New(password),
		}.Profile()
	}
	organization := func(client, key string) admission.Profile {
		return dinero.Config{
			ClientID:     client,
			ClientSecret: secret.New("s"),
			APIKeys:      secret.New("1=" + key + ",2=" + key),
		}.Profile("1").Profile
	}
	static := func(token string) admission.Profile {
		return dckap.Config{Token: secret.New(token)}.Profile()
	}
	for _, tt := range []struct {
		name string
		a, b admission.Profile
		same bool
	}{
		{"new password", basic("u", "p"), basic("u", "q"), true},
		{"another user", basic("u", "p"), basic("v", "p"), false},
		{"new key of an organization", organization("c", "k"), organization("c", "l"), true},
		{"another client of an organization", organization("c", "k"), organization("d", "k"), false},
		{"another token of an account that has only a token", static("t"), static("u"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if same := slices.Equal(identity(tt.a), identity(tt.b)); same != tt.same {
				t.Errorf("same account: %v, want %v", same, tt.same)
			}
		})
	}
}
