package record

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
)

// Action is one line of the operators' log: what a person has done to the fleet by a
// command, the web UI or an API key.
type Action struct {
	At time.Time
	// Who did it, as far as the machine knows: user@host, "key NAME" for an API key, "web UI
	// (USER)" for a button.
	Who string
	// Verb is replay, forget, pause, resume, cancel, clear, use for an API key, or the word of
	// a button: run, archive, delete.
	Verb string
	// Target is a task, a queue, a credential or, for many, the filter.
	Target string
	// Reason is the operator's own.
	Reason string
	// Result says what came of it.
	Result string
}

const (
	// ActionsKey is the operators' log, a stream.
	ActionsKey = "errand:actions"
	// actionsKept is about how many lines it has.
	actionsKept = 100_000
	// seenKey has on which day each line that is written once a day was written last. Its
	// hash tag is the name of ActionsKey, so that one script may write both.
	seenKey = "{" + ActionsKey + "}:seen"
)

// onceScript: KEYS ActionsKey, seenKey; ARGV lines kept, then who, verb, target, reason and
// result. Replies whether it has written the line.
var onceScript = redisscript.New(redisscript.NowMillis, `
local field = ARGV[2] .. '\n' .. ARGV[3] .. '\n' .. ARGV[4]
local day = string.format('%.0f', math.floor(now / 86400000))
if redis.call('HGET', KEYS[2], field) == day then return 0 end
redis.call('HSET', KEYS[2], field, day)
redis.call('EXPIRE', KEYS[2], 2 * 86400)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
  'who', ARGV[2], 'verb', ARGV[3], 'target', ARGV[4], 'reason', ARGV[5], 'result', ARGV[6])
return 1`)

// ActOnceADay is Act for what happens all the time: the same who, verb and target give one
// line a day (UTC, by Redis' clock), whichever process writes it.
func (s *Store) ActOnceADay(ctx context.Context, a Action) error {
	keys := []string{ActionsKey, seenKey}
	_, err := onceScript.Run(ctx, s.rdb, keys, actionsKept, a.Who, a.Verb, a.Target, a.Reason, a.Result)
	if err != nil {
		return fmt.Errorf("write the operators' log: %w", err)
	}
	return nil
}

// Act writes a line of the operators' log. Redis' clock sets the time.
func (s *Store) Act(ctx context.Context, a Action) error {
	err := s.rdb.XAdd(ctx, &redis.XAddArgs{
		Stream: ActionsKey,
		MaxLen: actionsKept,
		Approx: true,
		Values: []any{"who", a.Who, "verb", a.Verb, "target", a.Target, "reason", a.Reason, "result", a.Result},
	}).Err()
	if err != nil {
		return fmt.Errorf("write the operators' log: %w", err)
	}
	return nil
}

// EachAction calls do for each line of the operators' log since the given time, the
// oldest first, until do returns an error.
func (s *Store) EachAction(ctx context.Context, since time.Time, do func(Action) error) error {
	return s.eachEntry(ctx, ActionsKey, since, func(at time.Time, v map[string]any) error {
		return do(Action{
			At:     at,
			Who:    text(v, "who"),
			Verb:   text(v, "verb"),
			Target: text(v, "target"),
			Reason: text(v, "reason"),
			Result: text(v, "result"),
		})
	})
}

// Who is the person who runs this process, as far as the machine knows.
func Who() string {
	name := "somebody"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

type whoKey struct{}

// WithWho returns a context whose actions somebody else than the user of this process does.
func WithWho(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, whoKey{}, who)
}

// WhoOf is who acts under a context: the one of WithWho, else Who.
func WhoOf(ctx context.Context) string {
	if who, ok := ctx.Value(whoKey{}).(string); ok {
		return who
	}
	return Who()
}

// streamStart is where the entries of a stream since a time begin.
func streamStart(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return strconv.FormatInt(max(since.UnixMilli(), 0), 10)
}
