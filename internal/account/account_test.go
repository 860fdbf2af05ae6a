package account

import (
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// unreachable is a Redis that is not asked: a gate asks at its first Enter only.
func unreachable(t *testing.T) Shared {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	return Shared{
		Redis:        rdb,
		TokenOptions: []tokens.Option{tokens.WithMetrics(tokens.NewMetrics(nil))},
	}
}

func TestGatesAreMadeOnceAndBounded(t *testing.T) {
	t.Parallel()
	profile := func(name string) tokens.Profile {
		return tokens.Profile{Name: "dckap-pipe-" + name}
	}
	a := New(unreachable(t))
	g := a.Gates(profile, []string{"a"})
	if len(a.Blockers) != 1 || a.Blockers[0].Name != "dckap-pipe-a" {
		t.Errorf("blockers %+v", a.Blockers)
	}
	first := g.Of("a")
	if g.Of("a") != first || g.Of("b") == first {
		t.Error("a name must have one gate of its own")
	}
	for i := range maxGates {
		g.Of(fmt.Sprint("n", i))
	}
	if len(g.made) != maxGates {
		t.Errorf("%d gates", len(g.made))
	}
	if _, shared := g.Of("one more").(*tokens.SharedGate); shared {
		t.Error("the set is not bounded")
	}
	a.Close()
	if _, err := first.Enter(t.Context()); err == nil {
		t.Error("a closed gate lets calls out")
	}
}

// A new password is not a new quota; another account is.
func TestIdentity(t *testing.T) {
	t.Parallel()
	profile := func(url, client, user, password string) tokens.Profile {
		return tokens.Profile{Identity: tokens.Identity{
			URL:      url,
			ClientID: client,
			Username: user,
			Secrets:  []secret.String{secret.New(password)},
		}}
	}
	for _, tt := range []struct {
		name string
		a, b tokens.Profile
		same bool
	}{
		{"new password", profile("u", "", "ana", "p"), profile("u", "", "ana", "q"), true},
		{"another user", profile("u", "", "ana", "p"), profile("u", "", "ben", "p"), false},
		{"new key of an organization", profile("u", "c", "1", "k"), profile("u", "c", "1", "l"), true},
		{"another client of an organization", profile("u", "c", "1", "k"), profile("u", "d", "1", "k"), false},
		{"a token is all there is", profile("u", "", "", "t"), profile("u", "", "", "v"), false},
	} {
		if same := slices.Equal(identity(tt.a), identity(tt.b)); same != tt.same {
			t.Errorf("%s: same %v", tt.name, same)
		}
	}
}
