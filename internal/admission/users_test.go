package admission

import (
	"slices"
	"testing"
	"time"

	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
)

func profileWith(password string) Profile {
	return Profile{Name: "shop", Identity: Identity{Username: "ana", Secrets: []secret.String{secret.New(password)}}}
}

// Each worker says which secret it uses; its latest word counts.
func TestUsersOfASecretAreToldFromThoseOfAnother(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	old := NewBreaker(rdb, profileWith("old"))
	defer old.Close()
	changed := NewBreaker(rdb, profileWith("new"))
	defer changed.Close()
	for _, say := range []struct {
		breaker *Breaker
		worker  string
	}{{old, "a"}, {old, "b"}, {changed, "c"}, {changed, "b"}, {changed, "b"}} {
		if err := say.breaker.Announce(t.Context(), say.worker); err != nil {
			t.Fatal(err)
		}
	}
	users, err := changed.Users(t.Context())
	if err != nil || !slices.Equal(users.Same, []string{"b", "c"}) || !slices.Equal(users.Others, []string{"a"}) {
		t.Errorf("Users = %+v, %v", users, err)
	}
	users, err = old.Users(t.Context())
	if err != nil || !slices.Equal(users.Same, []string{"a"}) || !slices.Equal(users.Others, []string{"b", "c"}) {
		t.Errorf("Users of the old one = %+v, %v", users, err)
	}
	if left := rdb.PTTL(t.Context(), "tok:{shop}:w").Val(); left <= 0 || left > usersKept {
		t.Errorf("it is kept for %v", left)
	}
}

// A short budget gets one step more, and no more than that.
func TestAShortBudgetIsProbedOnceMore(t *testing.T) {
	t.Parallel()
	for budget, want := range map[time.Duration][]time.Duration{
		0:                coolDowns,
		30 * time.Second: coolDowns,
		2 * time.Minute:  {30 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute},
		10 * time.Minute: coolDowns,
		72 * time.Hour:   coolDowns,
	} {
		if got := ladderOf(Profile{Budget: budget}); !slices.Equal(got, want) {
			t.Errorf("a budget of %v: %v, want %v", budget, got, want)
		}
	}
	if len(coolDowns) != 3 {
		t.Errorf("the ladder itself has changed: %v", coolDowns)
	}
}
