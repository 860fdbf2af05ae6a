package vendors

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// nowhere is a Redis that is not asked: a gate asks at its first Enter only.
func nowhere(t *testing.T) Shared {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	return Shared{Redis: rdb, Options: []tokens.Option{tokens.WithMetrics(tokens.NewMetrics(nil))}}
}

func TestGatesAreMadeOnceAndBounded(t *testing.T) {
	t.Parallel()
	g := newGates(nowhere(t), func(name string) tokens.Profile { return tokens.Profile{Name: "dckap-pipe-" + name} })
	first := g.of("a")
	if g.of("a") != first || g.of("b") == first {
		t.Error("a name must have one gate of its own")
	}
	for i := range maxGates {
		g.of(fmt.Sprint("n", i))
	}
	if len(g.made) != maxGates {
		t.Errorf("%d gates", len(g.made))
	}
	if _, shared := g.of("one more").(*tokens.SharedGate); shared {
		t.Error("the set has no end")
	}
	if _, ok := g.credential("one more"); ok {
		t.Error("a rest without a gate")
	}
	g.close()
	if _, err := first.Enter(t.Context()); err == nil {
		t.Error("a closed gate lets calls out")
	}
}

// What settings name can be waited for from the start.
func TestParkable(t *testing.T) {
	t.Parallel()
	accounts, err := Config{
		DCKAP: dckap.Config{
			Token:          secret.New("t"),
			TokenExpiresOn: "2030-03-31",
			PipesFile:      "../../clients/dckap/testdata/pipes.yaml",
		},
		Dinero: dinero.Config{
			ClientID: "c", ClientSecret: secret.New("s"), APIKeys: secret.New("1=a,2=b"),
		},
	}.Open(nowhere(t))
	if err != nil {
		t.Fatal(err)
	}
	defer accounts.Close()
	var names []string
	for _, c := range accounts.Parkable() {
		names = append(names, c.Name)
	}
	want := []string{
		"dckap", "dinero-1", "dinero-2", "dckap-pipe-0123", "dckap-pipe-64f1c0de0001", "dckap-pipe-64f1c0de0002", "dckap-pipe-64f1c0de0003",
		"dinero-org-1", "dinero-org-2",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if len(accounts.Expiring) != 1 || accounts.Expiring[0].ExpiresOn.Format(time.DateOnly) != "2030-03-31" {
		t.Errorf("expiring credentials: %+v", accounts.Expiring)
	}
	if accounts.DCKAP == nil || accounts.Dinero == nil {
		t.Error("a client is missing")
	}
}

func TestDryRunNeedsNoAccount(t *testing.T) {
	t.Parallel()
	if v, err := (Config{DCKAP: dckap.Config{PipesFile: "none.yaml", TokenExpiresOn: "soon"}}).DryRun(nil); err != nil ||
		v.DCKAP == nil ||
		v.Dinero == nil {
		t.Error(err)
	}
}
