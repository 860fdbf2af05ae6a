package record

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Action is one line of the operators' log: what a person has done to the fleet by a
// command, the web UI or an API key.
type Action struct {
	At time.Time
	// Who did it, as far as the machine knows: user@host, or the name of an API key.
	Who string
	// Verb is replay, forget, pause, resume, cancel, clear or key.
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
)

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

// streamStart is where the entries of a stream since a time begin.
func streamStart(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return strconv.FormatInt(max(since.UnixMilli(), 0), 10)
}
