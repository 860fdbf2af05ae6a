package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/config"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// startSchedules runs the schedules until ctx ends or stop is called. stop waits
// for them, and may be called again.
func startSchedules(
	ctx context.Context,
	c *config.Valid,
	reg prometheus.Registerer,
	log zerolog.Logger,
) (stop func()) {
	if c.Schedules == nil {
		return func() {}
	}
	rdb, producer := openProducer(c.Target, c.Ring)
	scheduler := schedule.New(schedule.Config{
		File:     c.Schedules,
		Redis:    rdb,
		Enqueuer: producer,
		Metrics:  reg,
		Log:      log,
	})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		scheduler.Run(ctx)
	})
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		closeQuietly(rdb)
	})
}

// openProducer opens connections that only a schedule uses, since a tick of many
// subjects keeps them busy, and that pipeline what it enqueues.
func openProducer(
	target *redisconn.Target,
	ring *seal.Ring,
) (redis.UniversalClient, *queue.Producer) {
	rdb := target.Open(redisconn.General)
	queue.Combine(rdb)
	return rdb, queue.NewProducer(rdb, ledger.New(rdb), ring)
}

// scheduleConfig is what the commands about schedules need.
type scheduleConfig struct {
	RedisURL           secret.String `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
	ScheduleFile       string        `env:"SCHEDULE_FILE"`
	EncryptionKeys     secret.String `env:"ENCRYPTION_KEYS"`
	EncryptionRequired bool          `env:"ENCRYPTION_REQUIRED" envDefault:"false"`
}

// schedules is the file and where its marks are.
type schedules struct {
	*schedule.File
	target *redisconn.Target
	ring   *seal.Ring
}

func openSchedules(environ map[string]string) (*schedules, error) {
	var c scheduleConfig
	faults := []error{settings.Load(&c, environ)}
	s := &schedules{}
	var err error
	s.target, err = redisconn.Parse(c.RedisURL.Reveal())
	faults = append(faults, err)
	s.ring, err = seal.Parse(c.EncryptionKeys.Reveal())
	faults = append(faults, err)
	if c.EncryptionRequired && c.EncryptionKeys.Empty() {
		faults = append(
			faults,
			errors.New(
				"ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true",
			),
		)
	}
	s.File, err = config.LoadSchedules(c.ScheduleFile)
	faults = append(faults, err)
	if c.ScheduleFile == "" {
		faults = append(
			faults,
			errors.New("SCHEDULE_FILE: is not set, so nothing runs on a schedule"),
		)
	}
	if err := settings.Collect(faults...); err != nil {
		return nil, config.NewError(err)
	}
	return s, nil
}

func (s *schedules) named(name string) (*schedule.Schedule, error) {
	if found, ok := s.Find(name); ok {
		return found, nil
	}
	names := make([]string, len(s.Schedules))
	for i, one := range s.Schedules {
		names[i] = one.Name
	}
	return nil, config.NewError(
		fmt.Errorf(
			"there is no schedule %q; there are: %s",
			name,
			strings.Join(names, ", "),
		),
	)
}

// lookFor bounds the commands about schedules, so that an unreachable Redis is
// reported soon.
const lookFor = 5 * time.Second

// ListSchedules writes one line for each schedule: what it runs, when, for how
// many subjects, and its next and last tick. Without Redis the last ones are
// unknown; it writes the rest and returns the error.
func ListSchedules(ctx context.Context, environ map[string]string, out io.Writer) error {
	s, err := openSchedules(environ)
	if err != nil {
		return err
	}
	rdb := s.target.Open(redisconn.General)
	defer closeQuietly(rdb)
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	now, trouble := rdb.Time(ctx).Result()
	if trouble != nil {
		now = time.Now()
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tTYPE\tWHEN\tSUBJECTS\tNEXT\tLAST")
	for _, one := range s.Schedules {
		next := one.Next(now)
		last := "unknown"
		if trouble == nil {
			last, trouble = lastTick(ctx, rdb, one.Name, next.Location())
		}
		_, _ = fmt.Fprintf(
			table,
			"%s\t%s\t%s\t%d\t%s\t%s\n",
			one.Name,
			one.Type,
			one.When(),
			one.Subjects(),
			stamp(next, "never"),
			last,
		)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if trouble != nil {
		return fmt.Errorf("the last ticks are unknown: %w", trouble)
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
	return stamp(tick.Last.In(zone), "none"), nil
}

func stamp(at time.Time, none string) string {
	if at.IsZero() {
		return none
	}
	return at.Format(time.RFC3339)
}

// maxNext bounds how many ticks are written.
const maxNext = 10_000

// NextTicks writes the next n ticks of a schedule, one a line, in its zone.
func NextTicks(environ map[string]string, n int, name string, out io.Writer) error {
	if n < 1 || n > maxNext {
		return config.NewError(
			fmt.Errorf("the number of ticks must be from 1 to %d", maxNext),
		)
	}
	s, err := openSchedules(environ)
	if err != nil {
		return err
	}
	one, err := s.named(name)
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

// RunSchedule enqueues one tick of a schedule now, beside its own ticks, and
// says what became of it.
func RunSchedule(
	ctx context.Context,
	environ map[string]string,
	name string,
) (string, error) {
	s, err := openSchedules(environ)
	if err != nil {
		return "", err
	}
	one, err := s.named(name)
	if err != nil {
		return "", err
	}
	rdb, producer := openProducer(s.target, s.ring)
	defer closeQuietly(rdb)
	ran, err := schedule.RunNow(ctx, one, rdb, producer)
	text := fmt.Sprintf("%s: %d of %d tasks enqueued", name, ran.Enqueued, one.Subjects())
	if ran.Duplicate > 0 {
		text += fmt.Sprintf(", %d by the same request a moment ago", ran.Duplicate)
	}
	if ran.Overlap > 0 {
		text += fmt.Sprintf(
			", %d skipped because the subject's earlier task is under way",
			ran.Overlap,
		)
	}
	if err != nil && ran.Enqueued > 0 {
		err = fmt.Errorf("%s, and then: %w", text, err)
	}
	return text, err
}
