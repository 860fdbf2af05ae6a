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

// Config is what a Scheduler is made of.
type Config struct {
	// File is what Load has read. Its path is looked at again while the
	// scheduler runs.
	File *File
	// Redis holds the schedules' marks.
	Redis redis.UniversalClient
	// To takes the tasks.
	To      Enqueuer
	Metrics prometheus.Registerer
	Log     zerolog.Logger
}

// Scheduler runs the schedules of a file in one worker.
type Scheduler struct {
	file    *File
	redis   redis.UniversalClient
	to      Enqueuer
	slots   chan struct{}
	metrics *metrics
	log     zerolog.Logger

	runners map[string]*runner
	running sync.WaitGroup
	failing atomic.Bool // so that an outage is logged once, not by every schedule
}

// New makes a Scheduler. It does not touch Redis yet.
func New(cfg Config) *Scheduler {
	return &Scheduler{
		file:    cfg.File,
		redis:   cfg.Redis,
		to:      cfg.To,
		slots:   make(chan struct{}, inFlight),
		metrics: newMetrics(cfg.Metrics),
		log:     cfg.Log,
		runners: map[string]*runner{},
	}
}

// Run enqueues what is due until ctx ends. A tick that is under way then is
// given back, so that another worker goes on with it at once.
func (s *Scheduler) Run(ctx context.Context) {
	defer s.running.Wait()
	s.metrics.fileOK.Set(1)
	s.apply(ctx, s.file)
	w := newWatch(s.file.from)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if changed := w.look(); changed != nil {
			s.reload(ctx, changed)
		}
	}
}

// reload takes a changed file over if it is right. Otherwise what ran goes on.
func (s *Scheduler) reload(ctx context.Context, r *reading) {
	file, err := r.result()
	if err != nil {
		s.metrics.fileOK.Set(0)
		s.metrics.reloads.WithLabelValues("broken").Inc()
		s.log.Error().
			Err(err).
			Msg("the schedule file is broken; the schedules from before go on")
		return
	}
	s.metrics.fileOK.Set(1)
	s.metrics.reloads.WithLabelValues("applied").Inc()
	s.log.Info().
		Int("schedules", len(file.Schedules)).
		Msg("the schedule file has changed and is in force")
	s.apply(ctx, file)
}

// apply starts, replaces and stops runners. Those whose schedule is the same go
// on undisturbed.
func (s *Scheduler) apply(ctx context.Context, file *File) {
	wanted := map[string]bool{}
	for _, def := range file.Schedules {
		wanted[def.Name] = true
		old := s.runners[def.Name]
		if old != nil && old.def.digest == def.digest &&
			old.def.timing.String() == def.timing.String() {
			continue
		}
		if old != nil { // it ends a tick it has begun; the lease keeps the new one from it
			close(old.retired)
		}
		s.start(ctx, def)
	}
	for name, r := range s.runners {
		if wanted[name] {
			continue
		}
		r.cancel()
		<-r.ended
		r.marks.leave(ctx)
		s.metrics.gone(name)
		delete(s.runners, name)
		s.log.Info().
			Str("schedule", name).
			Msg("the schedule was taken out and has stopped")
	}
}

func (s *Scheduler) start(ctx context.Context, def *Schedule) {
	r := newRunner(s, def)
	s.metrics.known(def.Name)
	ctx, r.cancel = context.WithCancel(ctx)
	s.runners[def.Name] = r
	s.running.Go(func() {
		defer r.cancel()
		r.run(ctx)
	})
	s.log.Info().
		Str("schedule", def.Name).
		Str("type", def.Type).
		Str("when", def.When()).
		Int("subjects", def.Subjects()).
		Msg("the schedule runs")
}

// trouble logs the first of a row of errors.
func (s *Scheduler) trouble(name string, err error) {
	if !s.failing.Swap(true) {
		s.log.Warn().
			Err(err).
			Str("schedule", name).
			Msg("a schedule cannot reach Redis; it tries again")
	}
}

func (s *Scheduler) fine() {
	if s.failing.Swap(false) {
		s.log.Info().Msg("schedules reach Redis again")
	}
}
