package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/alert"
	"errand.internal/internal/ledger"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
)

// Config is what a Server is made of.
type Config struct {
	// Redis is the servers' own client: the acknowledgement hook goes on it, so
	// nothing else may use it.
	Redis redis.UniversalClient
	// General is for everything else.
	General redis.UniversalClient
	// Cut, if not nil, ends the talk of both clients with Redis at once.
	Cut func()
	// Instances, if not nil, tells when either client comes to talk to a Redis that
	// may have forgotten the last moment.
	Instances *redisconn.FailoverDetector
	// Queues are the queues to run, with the concurrency of each.
	Queues map[string]int
	// Intervals says how often a queue that was paused or in trouble is asked for
	// work (otherwise the dispatch waits for it), and how often its scheduled and
	// retried tasks are looked at; 250 ms and 1 s for zero, or if it is nil.
	Intervals func(queue string) (poll, delay time.Duration)
	// Definitions are all the task types there are.
	Definitions []Definition
	// Credentials are those that tasks are parked for.
	Credentials []Credential
	Store       *ledger.Store
	Ring        *seal.Ring
	// Owner names this process in claims; unique among all there ever were.
	Owner string
	// Timeout bounds one attempt of a vendor's task.
	Timeout func(vendor string) time.Duration
	// ReconfirmAfter is how long after a closing was confirmed it is confirmed
	// once more, if an opening that it overtook may still take effect; 30 s if
	// unset.
	ReconfirmAfter time.Duration
	// LookupPause is added to a call's own time before a task that may have
	// happened is looked for; 2 s if unset.
	LookupPause time.Duration
	// Announce takes what somebody should hear of; nil for nobody.
	Announce alert.Func
	// Finished is told of the end of each task that was enqueued with Notify, or
	// that is a dead letter no schedule makes up for, once it is written; nil for
	// nobody. What it misses, because the process ends, is in
	// ledger.Store.PendingNotices; without it dead letters do not go there.
	Finished func(id string)
	// Grace is how long running attempts may take to end when the worker stops.
	Grace   time.Duration
	Metrics *Metrics
	Log     zerolog.Logger
}

// Server runs queues: one asynq.Server for each, so that one vendor's slots can
// never be taken by another's tasks.
type Server struct {
	redis      redis.UniversalClient
	servers    map[string]*asynq.Server // by queue
	dispatches map[string]*dispatch     // by pending key
	handler    *runner
	waker      *waker
	sweeper    *sweeper
	store      *ledger.Store
	owner      string
	grace      time.Duration
	cut        func()
	log        zerolog.Logger
	background sync.WaitGroup
	stopping   chan struct{}
	gone       chan struct{}
	stop       sync.Once
}

// NewServer makes a Server. It does not touch Redis yet.
func NewServer(cfg Config) (*Server, error) {
	if len(cfg.Queues) == 0 {
		return nil, errors.New("WORKER_QUEUES names no queue")
	}
	s := &Server{
		redis: cfg.Redis, store: cfg.Store, owner: cfg.Owner, grace: cfg.Grace, cut: cfg.Cut, log: cfg.Log, servers: map[string]*asynq.Server{}, dispatches: map[string]*dispatch{},
		stopping: make(chan struct{}), gone: make(chan struct{}),
	}
	cfg.Redis.AddHook(ackHook{cfg.Redis})
	cfg.Redis.AddHook(&dispatchHook{rdb: cfg.Redis, queues: s.dispatches})
	cfg.Redis.AddHook(&combineHook{rdb: cfg.Redis, leases: true})
	if cfg.General != cfg.Redis {
		cfg.General.AddHook(&combineHook{rdb: cfg.General})
	}
	if cfg.Announce == nil {
		cfg.Announce = func(alert.Alert) {}
	}
	if cfg.Intervals == nil {
		cfg.Intervals = func(string) (poll, delay time.Duration) { return 0, 0 }
	}
	if cfg.ReconfirmAfter <= 0 {
		cfg.ReconfirmAfter = 30 * time.Second
	}
	if cfg.LookupPause <= 0 {
		cfg.LookupPause = 2 * time.Second
	}
	dead := newMorgue(cfg.Store)
	s.handler = &runner{
		defs: map[string]Definition{}, store: cfg.Store, ring: cfg.Ring, owner: cfg.Owner, morgue: dead, announce: cfg.Announce, finished: cfg.Finished, reconfirmAfter: cfg.ReconfirmAfter, lookupPause: cfg.LookupPause,
		timeout: cfg.Timeout, metrics: cfg.Metrics, log: cfg.Log, gone: s.gone, recall: newRecall(cfg.Store, cfg.Log, s.gone),
	}
	if cfg.Instances != nil {
		cfg.Instances.OnFailover(s.handler.recall.all)
	}
	s.waker = &waker{
		store: cfg.Store, tasks: asynq.NewInspectorFromRedisClient(cfg.General), queues: slices.Sorted(maps.Keys(cfg.Queues)),
		credentials: cfg.Credentials, log: cfg.Log, batch: map[string]int{},
	}
	s.sweeper = &sweeper{
		redis: cfg.General, store: cfg.Store, morgue: dead, queues: s.waker.queues, announce: cfg.Announce, log: cfg.Log,
		deaths: map[string]*atomic.Int64{}, full: make(chan string, len(cfg.Queues)),
	}
	for name := range cfg.Queues {
		s.sweeper.deaths[name] = &atomic.Int64{}
	}
	for _, d := range cfg.Definitions {
		if _, twice := s.handler.defs[d.Type]; twice {
			return nil, fmt.Errorf("task type %s is defined twice", d.Type)
		}
		s.handler.defs[d.Type] = d
	}
	for name, concurrency := range cfg.Queues {
		s.dispatches[pendingKey(name)] = newDispatch(name, concurrency, s.stopping)
		poll, delay := cfg.Intervals(name)
		s.servers[name] = asynq.NewServerFromRedisClient(cfg.Redis, asynq.Config{
			Concurrency:              concurrency,
			Queues:                   map[string]int{name: 1},
			TaskCheckInterval:        cmp.Or(poll, 250*time.Millisecond),
			DelayedTaskCheckInterval: cmp.Or(delay, time.Second),
			RetryDelayFunc:           retryDelay,
			IsFailure:                countFailure,
			ShutdownTimeout:          cfg.Grace,
			BaseContext:              context.Background,
			Logger:                   asynqLogger{cfg.Log.With().Str("queue", name).Logger()},
			LogLevel:                 asynq.DebugLevel,
		})
	}
	return s, nil
}

// Start begins to work. On an error nothing is left running.
func (s *Server) Start() error {
	// The first sign of life comes before the first task.
	ctx, cancel := context.WithTimeout(context.Background(), beatEvery)
	if err := s.store.Beat(ctx, s.owner); err != nil {
		s.log.Warn().Err(err).Msg("Redis does not answer; the worker waits for it")
	}
	cancel()
	s.background.Go(func() { heart(s.store, s.owner, s.log, s.gone) })
	for name, server := range s.servers {
		d := s.dispatches[pendingKey(name)]
		handler := asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
			defer d.returned()
			err := s.handler.ProcessTask(ctx, t)
			if _, dead := errors.AsType[*deadError](err); dead {
				s.sweeper.died(name)
			}
			return err
		})
		if err := server.Start(handler); err != nil {
			s.Shutdown()
			return fmt.Errorf("start queue %s: %w", name, err)
		}
	}
	s.background.Go(func() { s.waker.run(s.stopping) })
	s.background.Go(func() { s.sweeper.run(s.stopping) })
	return nil
}

// cutAfter is how long after Grace Redis may still take to answer.
const cutAfter = 2 * time.Second

// Shutdown takes no more tasks, lets the running attempts end within Grace, and
// puts back what did not. A Redis that does not answer is cut off then: each part
// of asynq would wait for it in turn, for a minute and more. It may be called more
// than once.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		close(s.stopping)
		leave := sync.OnceFunc(func() { close(s.gone) })
		timer := time.AfterFunc(s.grace+cutAfter, func() {
			leave()
			if s.cut != nil {
				s.log.Warn().Msg("Redis does not answer; the worker stops without it, and what it could not write is ruled on by the others")
				s.cut()
			}
		})
		var all sync.WaitGroup
		for _, server := range s.servers {
			all.Go(server.Shutdown)
		}
		all.Wait()
		for _, d := range s.dispatches {
			d.stop(s.redis)
		}
		timer.Stop()
		leave()
		s.background.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), beatEvery)
		defer cancel()
		_ = s.store.Rest(ctx, s.owner) // it runs out by itself, too
	})
}
