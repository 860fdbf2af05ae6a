package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"errand.internal/internal/config"
	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
)

const (
	// lettersSince is how far back the doctor looks for dead letters.
	lettersSince = time.Hour
	// maxLetters bounds how many it reads of a queue, and maxLetterLines how many kinds of
	// end it shows of one.
	maxLetters     = 5000
	maxLetterLines = 5
)

// end is how tasks of a type have ended.
type end struct {
	taskType string
	outcome  record.Outcome
	code     string
}

// endings counts the dead letters of one end.
type endings struct {
	end
	count  int
	more   bool // there are letters that were not read
	newest record.DeadLetter
}

// errEnough ends the reading of a queue.
var errEnough = errors.New("enough")

// deadLetterChecks tell what has ended archived in the last hour, and nobody has replayed:
// a line for each type, outcome and code of the vendor.
func (d *doctor) deadLetterChecks(ctx context.Context) []Check {
	if !d.redisAnswers() {
		return nil // other checks say so
	}
	unread := Check{
		Level: redisguard.Warn,
		Name:  "dead letters",
		Seen:  "not checked: Redis did not answer in time",
		Fix:   "run the doctor again",
	}
	now, err := d.redis.Time(ctx).Result()
	if err != nil {
		return []Check{unread}
	}
	var checks []Check
	for _, queue := range config.QueueNames() {
		found, err := lettersOf(ctx, record.New(d.redis), queue, now.Add(-lettersSince))
		if err != nil {
			return []Check{unread}
		}
		for _, e := range found[:min(len(found), maxLetterLines)] {
			checks = append(checks, e.check(queue))
		}
	}
	return checks
}

// lettersOf counts the dead letters of a queue by their end, the most frequent one first.
func lettersOf(ctx context.Context, store *record.Store, queue string, since time.Time) ([]*endings, error) {
	found := map[end]*endings{}
	read := 0
	err := store.EachDeadLetter(ctx, queue, since, func(l record.DeadLetter) error {
		if read++; read > maxLetters {
			return errEnough
		}
		if l.Replay != "" {
			return nil
		}
		of := end{taskType: l.Type, outcome: l.Outcome, code: l.Code}
		if found[of] == nil {
			found[of] = &endings{end: of}
		}
		found[of].count++
		found[of].newest = l
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	var all []*endings
	for _, e := range found {
		e.more = read > maxLetters
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *endings) int {
		return cmp.Or(cmp.Compare(b.count, a.count), b.newest.At.Compare(a.newest.At), cmp.Compare(a.code, b.code))
	})
	return all, nil
}

func (e endings) check(queue string) Check {
	seen := fmt.Sprintf("%d %s ended %s in the last hour", e.count, e.taskType, e.outcome)
	if e.more {
		seen = "at least " + seen
	}
	if e.code != "" {
		seen += ", code " + e.code
	}
	if e.newest.Message != "" {
		seen += ": " + e.newest.Message
	}
	return Check{
		Level: redisguard.Warn,
		Name:  "dead letters " + queue,
		Seen:  seen,
		Fix: "worker explain " + e.newest.ID + " says what to do about the latest; all: worker dead-letters list " +
			"--type " + e.taskType + " --outcome " + string(e.outcome) + " --since 1h",
	}
}
