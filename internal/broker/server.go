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
	// Blockers are what tasks are parked for.
	Blockers []Blocker
	// Accounts names the accounts whose calls the tasks make, so that operators can pause
	// them.
	Accounts []string
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

// Server runs queues: one asynq.Server for each, so that one vendor's slots can
// never be taken by another's tasks.
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
	hook := &serverHook{rdb: cfg.Redis, queues: map[string]*dispatch{}}
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

// askAgain is how soon asynq asks again after "empty": the dispatch keeps the pace.
const askAgain = time.Millisecond

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
		if err := server.Start(s.handler(name)); err != nil {
			s.Shutdown()
			return fmt.Errorf("start queue %s: %w", name, err)
		}
	}
	s.background.Go(func() { s.waker.run(s.stopping) })
	s.background.Go(func() { s.reconciler.run(s.stopping) })
	return nil
}

// handler runs the tasks that the dispatch of a queue hands out. What becomes of a
// task is no business of asynq's: its handler always succeeds.
func (s *Server) handler(queue string) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
		defer s.dispatches[queue].returned()
		id, _ := asynq.GetTaskID(ctx)
		if c := s.claim(id); c != nil {
			// asynq cancels ctx when it believes the lease lost. The attempt does not obey:
			// breaking off a call makes an unknown out of what was about to be known.
			s.handle(context.WithoutCancel(ctx), c)
		}
		return nil
	})
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
	reply, err := run(ctx, rdb, takeStep, queue, arguments{
		"n", n,
		"owner", s.owner,
		"nonce", nonce,
		"lease", sent.Add(leaseFor).Unix(),
		"hold", s.hold.Milliseconds(),
	})
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
	a := arguments{"id", id, "owner", owner}
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

func (s *Server) forget(c *Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[c.ID] == c {
		delete(s.claims, c.ID)
	}
}

const (
	// cutAfter is how long after Grace Redis may still take to answer.
	cutAfter = time.Second
	// leaveAfter is how long the parts may take to notice that they were cut off.
	leaveAfter = 500 * time.Millisecond
)

// Shutdown takes no more tasks, lets the running attempts end within Grace, and puts
// back what did not start. It may be called more than once.
//
// A Redis that does not answer is cut off then. Each part of asynq would wait for it
// in turn, for a minute and more, so what still hangs is left behind: the process is
// about to exit, and the other workers rule on what it held.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		close(s.stopping)
		go func() {
			defer close(s.drained)
			s.drain()
		}()
		select {
		case <-s.drained:
			close(s.gone)
		case <-time.After(s.grace + cutAfter):
			close(s.gone)
			s.log.Warn().Msg("Redis does not answer; the worker stops without it, and the others rule on what it held")
			if s.cut != nil {
				s.cut()
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			<-s.drained
			s.background.Wait()
		}()
		select {
		case <-ended:
		case <-time.After(leaveAfter):
		}
	})
}

// Drained reports whether Shutdown has ended asynq's servers. If it had to leave them
// behind, their client must stay open: asynq's subscriber panics on a closed one.
func (s *Server) Drained() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

func (s *Server) drain() {
	var all sync.WaitGroup
	for _, server := range s.servers {
		all.Go(server.Shutdown)
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), blockFor)
	defer cancel()
	for _, d := range s.dispatches {
		d.drain(ctx)
	}
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.claims))
	s.mu.Unlock()
	for _, c := range open {
		c.requeue(ctx)
	}
	_ = s.store.Deregister(ctx, s.owner) // the heartbeat expires by itself, too
}
