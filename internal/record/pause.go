package record

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Pause is why no task of a queue, or of an account, starts.
type Pause struct {
	Who    string
	Reason string
	// Until is when it ends by itself; zero if it does not.
	Until time.Time
}

// String says it in words.
func (p Pause) String() string {
	text := "paused"
	if p.Who != "" {
		text += " by " + p.Who
	}
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	return text
}

// accountsKey is the set of the names of all accounts that a worker ever had.
const accountsKey = "errand:accounts"

// QueuePauseKey is the key that says who has paused a queue. What stops the queue is
// asynq's own mark.
func QueuePauseKey(queue string) string {
	return Prefix(queue) + "pause"
}

// AccountPauseKey is the key that is there while an account is paused.
func AccountPauseKey(account string) string {
	return "errand:account:{" + strings.NewReplacer("{", "_", "}", "_").Replace(account) + "}:pause"
}

// SetPause writes a pause that lasts for a time or, with 0, until it is ended, and returns it
// with its end. The key expires when the pause ends, and not before. also, if not nil, adds
// to the transaction what stops the work; now is Redis' time.
func SetPause(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	p Pause,
	d time.Duration,
	also func(pipe redis.Pipeliner, now time.Time),
) (Pause, error) {
	now, err := rdb.Time(ctx).Result()
	if err != nil {
		return p, fmt.Errorf("read Redis' time: %w", err)
	}
	ms := int64(0)
	if d > 0 {
		p.Until = now.Add(d)
		ms = p.Until.UnixMilli()
	}
	_, err = rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Del(ctx, key)
		pipe.HSet(ctx, key, "who", p.Who, "reason", p.Reason, "until", ms)
		if ms > 0 {
			pipe.PExpireAt(ctx, key, p.Until)
		}
		if also != nil {
			also(pipe, now)
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("write the pause: %w", err)
	}
	return p, nil
}

// PauseOf is the pause that the fields of its key describe.
func PauseOf(fields map[string]string) Pause {
	p := Pause{Who: fields["who"], Reason: fields["reason"]}
	if ms, err := strconv.ParseInt(fields["until"], 10, 64); err == nil && ms > 0 {
		p.Until = time.UnixMilli(ms)
	}
	return p
}

// PauseAccount has no call of an account start on any worker, for a time or, with 0,
// until ResumeAccount. It returns the pause with its end.
func (s *Store) PauseAccount(ctx context.Context, account string, p Pause, d time.Duration) (Pause, error) {
	return SetPause(ctx, s.rdb, AccountPauseKey(account), p, d, nil)
}

// ResumeAccount ends the pause of an account. It reports whether there was one.
func (s *Store) ResumeAccount(ctx context.Context, account string) (bool, error) {
	n, err := s.rdb.Del(ctx, AccountPauseKey(account)).Result()
	if err != nil {
		return false, fmt.Errorf("resume the account: %w", err)
	}
	return n > 0, nil
}

// PausedAccounts are those of the accounts that are paused.
func (s *Store) PausedAccounts(ctx context.Context, accounts ...string) (map[string]Pause, error) {
	paused := map[string]Pause{}
	if len(accounts) == 0 {
		return paused, nil
	}
	pipe := s.rdb.Pipeline()
	read := map[string]*redis.MapStringStringCmd{}
	for _, account := range accounts {
		read[account] = pipe.HGetAll(ctx, AccountPauseKey(account))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read the pauses of the accounts: %w", err)
	}
	for account, cmd := range read {
		if fields := cmd.Val(); len(fields) > 0 {
			paused[account] = PauseOf(fields)
		}
	}
	return paused, nil
}

// RegisterAccounts says which accounts there are, so that they can be paused by name.
func (s *Store) RegisterAccounts(ctx context.Context, accounts []string) error {
	if len(accounts) == 0 {
		return nil
	}
	return s.rdb.SAdd(ctx, accountsKey, accounts).Err()
}

// Accounts are the accounts that the workers have, or had.
func (s *Store) Accounts(ctx context.Context) ([]string, error) {
	accounts, err := s.rdb.SMembers(ctx, accountsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	slices.Sort(accounts)
	return accounts, nil
}
