package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"errand.internal/internal/announce"
	"errand.internal/internal/ledger"
	"errand.internal/internal/limits"
	"errand.internal/internal/monitor"
	"errand.internal/internal/queue"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/seal"
	"errand.internal/internal/tokens"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// Worker is one worker process.
type Worker struct {
	// Environ holds the settings.
	Environ map[string]string
	// Stderr takes the log.
	Stderr io.Writer
	// Ready, if set, is told where the admin HTTP listens ("" if it does not)
	// once the worker takes tasks.
	Ready func(adminAddr string)
}

// Run works until ctx ends, then drains: it takes no more tasks, lets the
// running ones end, and returns nil. A *ConfigError tells what is wrong with
// the settings.
func (w Worker) Run(ctx context.Context) error {
	p, err := load(w.Environ)
	if err != nil {
		return err
	}
	log := newLog(p.Config, w.Stderr)
	redisconn.LogTo(log)
	if !p.ring.Enabled() {
		log.Warn().
			Msg("ENCRYPTION_KEYS is not set: payloads, results and tokens stand in Redis as they are")
	}

	instances := &redisconn.FailoverDetector{}
	serversRedis, cutServers := p.target.OpenTracked(redisconn.Servers, instances)
	generalRedis, cutGeneral := p.target.OpenTracked(redisconn.General, instances)
	defer closeQuietly(serversRedis)
	defer closeQuietly(generalRedis)
	guard, err := redisguard.Start(ctx, generalRedis, log)
	if err != nil {
		return err
	}
	defer guard.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		queue.NewCollector(generalRedis, p.Queues.Names()),
	)
	metrics := queue.NewMetrics(registry)
	salt := seal.NewSalt(generalRedis)
	store := ledger.New(generalRedis)
	figures := tokens.NewMetrics(registry)
	out, err := openOutlet(p, generalRedis, salt, store, figures, log)
	if err != nil {
		return &ConfigError{err}
	}
	defer out.close()
	announcer := out.announce(announce.New(log, registry))

	accounts, err := p.Vendors.Open(vendors.Shared{
		Redis:   generalRedis,
		Ring:    p.ring,
		Salt:    salt,
		Observe: metrics.ObserveCall,
		Limits:  []limits.Option{limits.WithMetrics(limits.NewMetrics(registry))},
		Options: []tokens.Option{
			tokens.WithSalt(salt),
			tokens.WithMetrics(figures),
			tokens.WithOnChange(credentialEvents(announcer)),
		},
	})
	if err != nil {
		return &ConfigError{err}
	}
	defer accounts.Close()
	if !p.Recipients.Limit.IsZero() {
		accounts.Recipients = tasks.NewRecipients(
			p.Recipients,
			limits.NewGuard(generalRedis, salt, "otp-recipient", p.Recipients.Limit),
		)
	}

	if err := out.serve(&accounts.Vendors, metrics.ObserveCall, announcer); err != nil {
		return &ConfigError{err}
	}
	defs := tasks.Definitions(accounts.Vendors)
	queues := runnable(p.Queues, defs)
	timeouts := p.timeouts()
	server, err := queue.NewServer(queue.Config{
		Redis:   serversRedis,
		General: generalRedis,
		Cut: func() {
			cutServers()
			cutGeneral()
		},
		Instances:   instances,
		Queues:      queues,
		Definitions: defs,
		Credentials: slices.Concat(accounts.Parkable(), out.parkable()),
		Store:       store,
		Ring:        p.ring,
		Owner:       owner(),
		Grace:       p.ShutdownGrace,
		Metrics:     metrics,
		Announce:    announcer,
		Finished:    out.finished(),
		Log:         log,
		Timeout: func(vendor string) time.Duration {
			return timeouts[vendor] + attemptSlack
		},
	})
	if err != nil {
		return err
	}

	var draining atomic.Bool
	ready := func(ctx context.Context) error {
		if draining.Load() {
			return errors.New("the worker is stopping")
		}
		if err := generalRedis.Ping(ctx).Err(); err != nil {
			return errors.New("no answer from Redis")
		}
		return guard.Err()
	}
	adminAddr, stopAdmin, err := serveAdmin(ctx, p, monitor.Parts{
		Redis:   generalRedis,
		Metrics: registry,
		Ready:   ready,
		Payload: maskPayload,
		Result:  maskResult,
	}, log)
	if err != nil {
		return err
	}
	defer stopAdmin()

	stopEvents := out.start(accounts.Credentials)
	defer stopEvents() // after the last task has ended
	expiry, stopExpiry := context.WithCancel(context.WithoutCancel(ctx))
	defer stopExpiry()
	for _, c := range accounts.Expiring {
		go warnOfExpiry(expiry, c.Name, c.ExpiresOn, time.Now, announcer)
	}

	if err := server.Start(); err != nil {
		return err
	}
	stopSchedules := startSchedules(ctx, p, registry, log)
	defer stopSchedules()
	log.Info().
		Str("version", Version).
		Str("redis", p.target.Redacted()).
		Interface("queues", queues).
		Strs("vendors", p.Vendors.Configured()).
		Str("http", adminAddr).
		Msg("worker is ready")
	if w.Ready != nil {
		w.Ready(adminAddr)
	}

	<-ctx.Done()
	log.Info().
		Dur("grace", p.ShutdownGrace).
		Msg("worker stops: no more tasks are taken, running ones may end")
	draining.Store(true)
	stopSchedules()
	server.Shutdown()
	log.Info().Msg("worker has stopped")
	return nil
}

// runnable leaves the queues of vendors without credentials to workers that
// have them.
func runnable(wanted Queues, defs []queue.Definition) map[string]int {
	queues := map[string]int{}
	for _, d := range defs {
		if n := wanted[d.Base.Queue]; n > 0 && d.Run != nil {
			queues[d.Base.Queue] = n
		}
	}
	return queues
}

// serveAdmin serves the admin HTTP, if there is to be one, until stop is
// called: it goes on while the worker drains.
func serveAdmin(
	ctx context.Context,
	p *plan,
	parts monitor.Parts,
	log zerolog.Logger,
) (addr string, stop func(), err error) {
	if p.HTTPAddr == "" {
		return "", func() {}, nil
	}
	handler, err := monitor.New(p.Monitoring, parts)
	if err != nil {
		return "", nil, err
	}
	l, err := monitor.Listen(ctx, p.HTTPAddr)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := monitor.Serve(ctx, l, handler, log); err != nil {
			log.Error().Err(err).Msg("the admin HTTP has ended; the queues go on")
		}
	}()
	return l.Addr().String(), func() {
		cancel()
		<-done
	}, nil
}

func newLog(c Config, stderr io.Writer) zerolog.Logger {
	if c.LogFormat == "console" {
		stderr = zerolog.ConsoleWriter{Out: stderr, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(stderr).Level(c.LogLevel.Level).With().Timestamp().Logger()
}

// credentialEvents makes changes of credentials known.
func credentialEvents(to announce.Func) func(tokens.Change) {
	return func(e tokens.Change) {
		kind := announce.CredentialParked
		if e.Kind == tokens.Resumed {
			kind = announce.CredentialResumed
		}
		to(announce.Announcement{Kind: kind, Subject: e.Profile})
	}
}

// owner names this process in claims: readable, and unique among all there ever
// were.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}

func closeQuietly(c io.Closer) {
	_ = c.Close()
}
