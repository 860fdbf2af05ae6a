package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/ledger"
)

// forget puts a task's record back to what it was, as a Redis does that comes
// back from a file which is a moment old.
func forget(t *testing.T, rdb *redis.Client, id string, then func()) {
	t.Helper()
	key := "errand:{otp}:task:" + id
	old, err := rdb.Dump(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	then()
	if err := rdb.RestoreReplace(t.Context(), key, time.Hour, old).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestRecall(t *testing.T) {
	t.Parallel()
	recall := func(t *testing.T, s *ledger.Store, c ledger.Claim, g ledger.Grant, want bool) {
		t.Helper()
		if ok, err := s.Recall(t.Context(), c, g, time.Minute); err != nil || ok != want {
			t.Errorf("recalled %v, %v; want %v", ok, err, want)
		}
	}
	t.Run("a forgotten claim stands again", func(t *testing.T) {
		t.Parallel()
		s, rdb := newStore(t)
		c := claim(create(t, s, sample()).ID)
		var g ledger.Grant
		forget(t, rdb, c.ID, func() { g = begin(t, s, c, ledger.Go) })
		recall(t, s, c, g, true)
		recall(t, s, c, g, true) // its reply was lost
		other := c
		other.Owner = "another"
		begin(t, s, other, ledger.Busy)
		if err := s.Finish(t.Context(), c.ID, g, ended(ledger.Done)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a record that is gone", func(t *testing.T) {
		t.Parallel()
		s, rdb := newStore(t)
		c := claim(create(t, s, sample()).ID)
		g := begin(t, s, c, ledger.Go)
		rdb.Del(t.Context(), "errand:{otp}:task:"+c.ID)
		recall(t, s, c, g, true)
		other := c
		other.Owner = "another"
		begin(t, s, other, ledger.Busy)
	})
	t.Run("somebody else has it", func(t *testing.T) {
		t.Parallel()
		s, rdb := newStore(t)
		c := claim(create(t, s, sample()).ID)
		var g ledger.Grant
		forget(t, rdb, c.ID, func() { g = begin(t, s, c, ledger.Go) })
		other := c
		other.Owner = "another"
		theirs := begin(t, s, other, ledger.Go)
		recall(t, s, c, g, false)
		again := ledger.Result{State: ledger.Retrying, Wait: time.Second}
		if err := s.Finish(t.Context(), c.ID, g, again); !errors.Is(err, ledger.ErrStale) {
			t.Errorf("a pause beside a running call: %v, want ErrStale", err)
		}
		if err := s.Finish(t.Context(), c.ID, theirs, ended(ledger.Done)); err != nil {
			t.Error(err)
		}
		recall(t, s, c, g, false)
	})
}

func TestAForgottenEndIsWrittenAgain(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	spec := sample()
	spec.Key = "login-1"
	c := claim(create(t, s, spec).ID)
	var g ledger.Grant
	end := func() {
		t.Helper()
		if err := s.Finish(t.Context(), c.ID, g, ended(ledger.Done)); err != nil {
			t.Error(err)
		}
		begin(t, s, c, ledger.AlreadyEnded)
	}
	forget(t, rdb, c.ID, func() { g = begin(t, s, c, ledger.Go); end() })
	end()
	// Now the whole moment is gone, with the producer's key.
	keys := rdb.Keys(t.Context(), "errand:{otp}:*").Val()
	rdb.Del(t.Context(), keys...)
	end()
	if second := create(t, s, spec); !second.Duplicate || second.ID != c.ID {
		t.Errorf("the key makes another task: %+v", second)
	}
}
