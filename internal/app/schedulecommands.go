package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/config"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// scheduleConfig has the settings of the commands about schedules.
type scheduleConfig struct {
	RedisURL           secret.String  `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
	ScheduleFile       string         `env:"SCHEDULE_FILE"`
	EncryptionKeys     secret.String  `env:"ENCRYPTION_KEYS"`
	EncryptionRequired bool           `env:"ENCRYPTION_REQUIRED" envDefault:"false"`
	QueueLimit         settings.Count `env:"QUEUE_LIMIT"`
}

// schedules is a schedule file, with the Redis in which its ticks are recorded.
type schedules struct {
	*schedule.File
	target *redisconn.Target
	ring   *seal.Ring
	limit  settings.Count
}

func openSchedules(environ map[string]string) (*schedules, error) {
	var c scheduleConfig
	faults := []error{settings.Load(&c, environ)}
	fault := func(err error) {
		faults = append(faults, err)
	}
	s := &schedules{limit: c.QueueLimit}
	var err error
	s.target, err = redisconn.Parse(c.RedisURL.Reveal())
	fault(err)
	s.ring, err = config.Ring(c.EncryptionKeys, c.EncryptionRequired)
	fault(err)
	s.File, err = config.LoadSchedules(c.ScheduleFile)
	fault(err)
	if c.ScheduleFile == "" {
		fault(errors.New("SCHEDULE_FILE: is not set, so nothing runs on a schedule"))
	}
	if err := settings.Collect(faults...); err != nil {
		return nil, config.NewError(err)
	}
	return s, nil
}

func (s *schedules) find(name string) (*schedule.Schedule, error) {
	if found, ok := s.Find(name); ok {
		return found, nil
	}
	names := make([]string, len(s.Schedules))
	for i, one := range s.Schedules {
		names[i] = one.Name
	}
	known := strings.Join(names, ", ")
	return nil, argumentf("there is no schedule %q; there are: %s", name, known)
}

// listTimeout bounds the requests of ListSchedules, so that an unreachable Redis is
// reported soon.
const listTimeout = 5 * time.Second

// ListSchedules writes one line for each schedule: its type, when it runs, for how
// many subjects, and its next and last tick. If Redis does not answer, the last
// ticks are unknown: it writes the rest and returns the error.
func ListSchedules(ctx context.Context, environ map[string]string, out io.Writer) error {
	s, err := openSchedules(environ)
	if err != nil {
		return err
	}
	rdb := s.target.Open(redisconn.General)
	defer closeQuietly(rdb)
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	now, redisErr := rdb.Time(ctx).Result()
	if redisErr != nil {
		now = time.Now()
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tTYPE\tWHEN\tSUBJECTS\tNEXT\tLAST")
	for _, one := range s.Schedules {
		next := one.Next(now)
		last := "unknown"
		if redisErr == nil {
			last, redisErr = lastTick(ctx, rdb, one.Name, next.Location())
		}
		_, _ = fmt.Fprintf(
			table,
			"%s\t%s\t%s\t%d\t%s\t%s\n",
			one.Name,
			one.Type,
			one.When(),
			one.Subjects(),
			formatTick(next, "never"),
			last,
		)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if redisErr != nil {
		return fmt.Errorf("the last ticks are unknown: %w", redisErr)
	}
	return nil
}

func lastTick(
	ctx context.Context,
	rdb redis.UniversalClient,
	name string,
	zone *time.Location,
) (string, error) {
	tick, err := schedule.LastTick(ctx, rdb, name)
	if err != nil {
		return "unknown", err
	}
	return formatTick(tick.Last.In(zone), "none"), nil
}

// formatTick returns none for the zero time.
func formatTick(at time.Time, none string) string {
	if at.IsZero() {
		return none
	}
	return at.Format(time.RFC3339)
}

// maxTicks bounds how many ticks NextTicks writes.
const maxTicks = 10_000

// NextTicks writes the next n ticks of a schedule, one a line, in its time zone.
func NextTicks(environ map[string]string, n int, name string, out io.Writer) error {
	if n < 1 || n > maxTicks {
		return argumentf("the number of ticks must be from 1 to %d", maxTicks)
	}
	s, err := openSchedules(environ)
	if err != nil {
		return err
	}
	one, err := s.find(name)
	if err != nil {
		return err
	}
	at := time.Now()
	for range n {
		if at = one.Next(at); at.IsZero() {
			return nil
		}
		if _, err := fmt.Fprintln(out, at.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

// RunSchedule enqueues one tick of a schedule now, in addition to its own ticks.
// The text says how many tasks were enqueued.
func RunSchedule(ctx context.Context, environ map[string]string, name string) (string, error) {
	s, err := openSchedules(environ)
	if err != nil {
		return "", err
	}
	one, err := s.find(name)
	if err != nil {
		return "", err
	}
	rdb, producer := openProducer(s.target, s.ring, s.limit)
	defer closeQuietly(rdb)
	result, err := schedule.RunNow(ctx, one, rdb, producer)
	text := fmt.Sprintf("%s: %d of %d tasks enqueued", name, result.Enqueued, one.Subjects())
	if result.Duplicate > 0 {
		text += fmt.Sprintf(", %d already enqueued by the same request a moment ago", result.Duplicate)
	}
	if result.Overlap > 0 {
		text += fmt.Sprintf(", %d skipped because the subject's earlier task is still active", result.Overlap)
	}
	if err != nil && result.Enqueued > 0 {
		err = fmt.Errorf("%s, and then: %w", text, err)
	}
	return text, err
}
