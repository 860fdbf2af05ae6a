package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/alert"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
)

// Config is what a Server is made of.
type Config struct {
	// Redis is the servers' own client: hooks that only they may meet go on it.
	Redis redis.UniversalClient
	// General is for everything else.
	General redis.UniversalClient
	// Cut, if not nil, closes the connections of both clients at once.
	Cut func()
	// Failovers, if not nil, tells when either client comes to talk to a Redis that
	// may have forgotten the latest writes.
	Failovers *redisconn.FailoverDetector
	// Queues are the queues to run, with the concurrency of each.
	Queues map[string]int
	// Intervals says how often a queue that is paused or in trouble is asked for work
	// (otherwise the dispatch waits for it), and how often its delayed tasks are looked
	// at; 250 ms and 1 s for zero, or if it is nil.
	Intervals func(queue string) (poll, delay time.Duration)
	// Blockers returns what tasks are parked for, which may change; nil for nothing.
	Blockers func() []Blocker
	// Accounts returns the names of the accounts whose calls the tasks make, so that
	// operators can pause them. They may change; nil for none.
	Accounts func() []string
	// Owner names this process in claims; no other process ever has the same.
	Owner string
	// Hold is the longest time that an attempt takes.
	Hold time.Duration
	// Handle runs a claimed task and settles the claim.
	Handle func(ctx context.Context, c *Claim)
	// Sealed has producers without keys refused, for as long as a worker demands it and
	// sealedTTL more.
	Sealed bool
	// Alert takes what somebody should hear of; nil for nobody.
	Alert alert.Func
	// Grace is how long running attempts may take to end when the worker stops.
	Grace time.Duration
	Log   zerolog.Logger
}

// Server runs queues, each with slots of its own, so that one vendor's slots can never be
// taken by another's tasks. An asynq.Server for each queue forwards delayed tasks, deletes
// old ones, and shows the queue's slots to asynq's tools.
type Server struct {
	general    redis.UniversalClient
	store      *record.Store
	sealed     bool
	owner      string
	hold       time.Duration
	handle     func(ctx context.Context, c *Claim)
	grace      time.Duration
	cut        func()
	log        zerolog.Logger
	servers    map[string]*asynq.Server // by queue
	dispatches map[string]*dispatch     // by queue
	heart      *heart
	waker      *waker
	reconciler *reconciler
	replay     *replay
	gate       formatGate

	mu     sync.Mutex
	claims map[string]*Claim // taken and not settled, by ID

	slots      sync.WaitGroup
	background sync.WaitGroup
	stopping   chan struct{}
	gone       chan struct{}
	stop       sync.Once
	drained    chan struct{} // asynq's servers have ended
}

// NewServer makes a Server. It does not use Redis yet.
func NewServer(cfg Config) (*Server, error) {
	if err := CheckAsynq(); err != nil {
		return nil, err
	}
	if len(cfg.Queues) == 0 {
		return nil, errors.New("WORKER_QUEUES names no queue")
	}
	if cfg.Alert == nil {
		cfg.Alert = func(alert.Alert) {}
	}
	if cfg.Blockers == nil {
		cfg.Blockers = func() []Blocker { return nil }
	}
	if cfg.Accounts == nil {
		cfg.Accounts = func() []string { return nil }
	}
	if cfg.Intervals == nil {
		cfg.Intervals = func(string) (poll, delay time.Duration) { return 0, 0 }
	}
	s := &Server{
		general:    cfg.General,
		store:      record.New(cfg.General),
		sealed:     cfg.Sealed,
		owner:      cfg.Owner,
		hold:       cfg.Hold,
		handle:     cfg.Handle,
		grace:      cfg.Grace,
		cut:        cfg.Cut,
		log:        cfg.Log,
		servers:    map[string]*asynq.Server{},
		dispatches: map[string]*dispatch{},
		claims:     map[string]*Claim{},
		stopping:   make(chan struct{}),
		gone:       make(chan struct{}),
		drained:    make(chan struct{}),
	}
	s.heart = newHeart(s.store, cfg.Owner, cfg.Log)
	s.replay = newReplay(s)
	if cfg.Failovers != nil {
		cfg.Failovers.OnFailover(s.replay.all)
	}
	queues := slices.Sorted(maps.Keys(cfg.Queues))
	s.waker = newWaker(s, queues, cfg.Blockers)
	s.reconciler = newReconciler(s, queues, cfg.Accounts, cfg.Alert)
	s.addQueues(cfg)
	return s, nil
}

func (s *Server) addQueues(cfg Config) {
	hook := &serverHook{queues: map[string]*dispatch{}}
	cfg.Redis.AddHook(hook)
	Batch(cfg.Redis)
	if cfg.General != cfg.Redis {
		Batch(cfg.General)
	}
	for name, concurrency := range cfg.Queues {
		poll, delay := cfg.Intervals(name)
		d := &dispatch{
			server:      s,
			rdb:         cfg.Redis,
			queue:       name,
			concurrency: concurrency,
			pace:        cmp.Or(poll, 250*time.Millisecond),
		}
		s.dispatches[name], hook.queues[asynqPrefix(name)] = d, d
		s.servers[name] = asynq.NewServerFromRedisClient(cfg.Redis, asynq.Config{
			Concurrency:              concurrency,
			Queues:                   map[string]int{name: 1},
			TaskCheckInterval:        askAgain,
			DelayedTaskCheckInterval: cmp.Or(delay, time.Second),
			ShutdownTimeout:          cfg.Grace,
			BaseContext:              context.Background,
			Logger:                   asynqLogger{cfg.Log.With().Str("queue", name).Logger()},
			LogLevel:                 asynq.DebugLevel,
		})
	}
}

// askAgain is how soon asynq asks again for a task, having been told that there is none:
// it is told so when the worker stops.
const askAgain = 10 * time.Millisecond

// Start begins to work. On an error nothing is left running. It does not wait for a
// Redis that does not answer; what that one holds is looked at before the first task.
func (s *Server) Start() error {
	ctx, cancel := context.WithTimeout(context.Background(), heartbeatInterval)
	defer cancel()
	if wrong, ok := errors.AsType[*FormatError](s.gate.pass(ctx, s.general)); ok {
		return wrong
	}
	s.heart.first() // before the first task
	s.background.Go(func() { s.heart.run(s.gone) })
	for name, server := range s.servers {
		if err := server.Start(idle); err != nil {
			s.Shutdown()
			return fmt.Errorf("start queue %s: %w", name, err)
		}
	}
	for _, d := range s.dispatches {
		s.slots.Add(d.concurrency)
		for range d.concurrency {
			go d.slot()
		}
	}
	s.background.Go(func() { s.waker.run(s.stopping) })
	s.background.Go(func() { s.reconciler.run(s.stopping) })
	return nil
}

// idle is the handler of asynq's servers, which get no task.
var idle = asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
	return errors.New("asynq runs no task of Errand's")
})

// work runs a claimed task.
func (s *Server) work(c *Claim) {
	defer c.RecoverPanic()
	s.handle(context.Background(), c)
}

// HeartbeatAge is how long ago the worker gave its latest heartbeat.
func (s *Server) HeartbeatAge() time.Duration {
	return s.heart.age()
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// newNonce tells one take from every other: 80 bits are random.
func newNonce() string {
	return record.RandomText()
}

// Take claims up to n tasks of a queue. It does not wait: without a task its error is
// redis.Nil.
func (s *Server) Take(ctx context.Context, queue string, n int) ([]*Claim, error) {
	return s.take(ctx, s.general, queue, n, newNonce())
}

func (s *Server) take(
	ctx context.Context,
	rdb redis.UniversalClient,
	queue string,
	n int,
	nonce string,
) ([]*Claim, error) {
	if err := s.gate.pass(ctx, rdb); err != nil {
		return nil, err
	}
	sent := time.Now()
	reply, err := run(ctx, rdb, takeStep, queue, newArguments(
		"n", n,
		"owner", s.owner,
		"nonce", nonce,
		"hold", s.hold.Milliseconds(),
	))
	if err != nil {
		return nil, err
	}
	claims := make([]*Claim, 0, len(reply)-1)
	for i := 1; i < len(reply); i++ {
		c := s.newClaim(queue, reply.List(i), reply.Time(0), sent)
		s.track(c)
		claims = append(claims, c)
	}
	return claims, nil
}

// Requeue puts a task back into its queue that owner has claimed, and rules on the
// claim: a call that was started may have happened. crashed says that the owner died.
// It reports false if the owner has not claimed the task.
func (s *Server) Requeue(ctx context.Context, queue, id, owner string, crashed bool) (bool, error) {
	a := newArguments("id", id, "owner", owner)
	a.flag("crashed", crashed)
	reply, err := run(ctx, s.general, requeueStep, queue, a)
	if err != nil {
		return false, fmt.Errorf("requeue a task: %w", err)
	}
	return reply.Bool(0), nil
}

// track remembers a claim until it is settled.
func (s *Server) track(c *Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims[c.ID] = c
}

func (s *Server) claim(id string) *Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[id]
}

// running are the claims of a queue that were taken and not settled.
func (s *Server) running(queue string) []*Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var claims []*Claim
	for _, c := range s.claims {
		if c.Queue == queue {
			claims = append(claims, c)
		}
	}
	return claims
}

func (s *Server) forget(c *Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[c.ID] == c {
		delete(s.claims, c.ID)
	}
}
