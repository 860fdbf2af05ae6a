package schedule

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// Config holds what a Scheduler needs.
type Config struct {
	// File is the result of Load. The scheduler reads its path again when it
	// changes.
	File *File
	// Redis holds the state of the schedules.
	Redis redis.UniversalClient
	// Enqueuer takes the tasks.
	Enqueuer Enqueuer
	Metrics  prometheus.Registerer
	Log      zerolog.Logger
}

// Scheduler runs the schedules of a file in one worker.
type Scheduler struct {
	file     *File
	redis    redis.UniversalClient
	enqueuer Enqueuer
	inFlight chan struct{} // one element per task being enqueued
	metrics  *metrics
	log      zerolog.Logger

	current atomic.Pointer[File]
	runners map[string]*runner
	running sync.WaitGroup
	failing atomic.Bool // so that an outage is logged once, not by every schedule
}

// New makes a Scheduler, with its counters at zero. It does not connect to Redis yet.
func New(cfg Config) *Scheduler {
	s := &Scheduler{
		file:     cfg.File,
		redis:    cfg.Redis,
		enqueuer: cfg.Enqueuer,
		inFlight: make(chan struct{}, maxInFlight),
		metrics:  newMetrics(cfg.Metrics),
		log:      cfg.Log,
		runners:  map[string]*runner{},
	}
	s.metrics.fileOK.Set(1)
	s.current.Store(cfg.File)
	for _, schedule := range cfg.File.Schedules {
		s.metrics.add(schedule.Name)
	}
	return s
}

// Schedules returns the schedules that run. It is safe for concurrent use.
func (s *Scheduler) Schedules() []*Schedule {
	return s.current.Load().Schedules
}

// Run enqueues what is due until ctx ends. It then gives up the lease of a tick
// in progress, so that another worker resumes it at once.
func (s *Scheduler) Run(ctx context.Context) {
	defer s.running.Wait()
	s.apply(ctx, s.file)
	w := newWatcher(s.file.source)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if changed := w.check(); changed != nil {
			s.reload(ctx, changed)
		}
	}
}

// reload applies a changed file. If it has problems, the previous schedules
// continue.
func (s *Scheduler) reload(ctx context.Context, r *reading) {
	file, err := r.result()
	if err != nil {
		s.metrics.fileOK.Set(0)
		s.metrics.reloads.WithLabelValues("broken").Inc()
		s.log.Error().
			Err(err).
			Msg("schedule file has problems; the previous schedules continue")
		return
	}
	s.metrics.fileOK.Set(1)
	s.metrics.reloads.WithLabelValues("applied").Inc()
	s.log.Info().
		Int("schedules", len(file.Schedules)).
		Msg("schedule file changed and applied")
	s.apply(ctx, file)
}

// apply starts, replaces and stops runners. A schedule that has not changed keeps
// its runner.
func (s *Scheduler) apply(ctx context.Context, file *File) {
	s.current.Store(file)
	wanted := map[string]bool{}
	for _, schedule := range file.Schedules {
		wanted[schedule.Name] = true
		old := s.runners[schedule.Name]
		if old != nil && old.schedule.digest == schedule.digest &&
			old.schedule.timing.String() == schedule.timing.String() {
			continue
		}
		if old != nil { // its lease keeps the new runner from a tick that it completes
			close(old.retired)
		}
		s.start(ctx, schedule)
	}
	for name, r := range s.runners {
		if !wanted[name] {
			s.remove(ctx, r)
		}
	}
}

func (s *Scheduler) start(ctx context.Context, schedule *Schedule) {
	r := newRunner(s, schedule)
	s.metrics.add(schedule.Name)
	ctx, r.cancel = context.WithCancel(ctx)
	s.runners[schedule.Name] = r
	s.running.Go(func() {
		defer r.cancel()
		r.run(ctx)
	})
	s.log.Info().
		Str("schedule", schedule.Name).
		Str("type", schedule.Type).
		Str("when", schedule.When()).
		Int("subjects", schedule.Subjects()).
		Msg("schedule started")
}

// remove stops the runner of a schedule that is no longer in the file.
func (s *Scheduler) remove(ctx context.Context, r *runner) {
	name := r.schedule.Name
	r.cancel()
	<-r.stopped
	r.state.deregister(ctx)
	s.metrics.remove(name)
	delete(s.runners, name)
	s.log.Info().
		Str("schedule", name).
		Msg("schedule removed from the file; stopped")
}

// logFailure logs the first of a series of errors.
func (s *Scheduler) logFailure(name string, err error) {
	if !s.failing.Swap(true) {
		s.log.Warn().
			Err(err).
			Str("schedule", name).
			Msg("Redis request of a schedule failed; retrying")
	}
}

func (s *Scheduler) logRecovery() {
	if s.failing.Swap(false) {
		s.log.Info().Msg("Redis requests of schedules succeed again")
	}
}
