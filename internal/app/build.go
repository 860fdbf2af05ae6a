package app

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/events"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
	"errand.internal/internal/tracing/export"
	"errand.internal/internal/worker"
)

// attemptSlack is how much longer than one call an attempt may take: it may wait
// for a token that another worker fetches.
const attemptSlack = 3 * time.Second

// process is a worker process with all its parts.
type process struct {
	config    *config.Valid
	environ   map[string]string
	files     *settings.SecretFiles // that environ names
	owner     string
	now       func() time.Time
	release   func([]worker.Definition) []worker.Definition
	log       zerolog.Logger
	registry  *prometheus.Registry
	metrics   *worker.Metrics
	redis     redis.UniversalClient
	guard     *redisguard.Watch
	events    *eventPipeline
	alert     alert.Func
	accounts  *config.OpenAccounts
	queues    map[string]int
	server    *broker.Server
	sender    *events.Sender // nil without a receiver
	api       *httpapi.API   // nil without API_ADDR
	password  atomic.Pointer[secret.String]
	schedules *runningSchedules
	tracer    trace.Tracer // nil if no spans are exported
	draining  atomic.Bool
	closers   []func()
}

// build connects to Redis, opens the accounts and creates the server, which does
// not take tasks yet.
func (w Worker) build(
	ctx context.Context,
	c *config.Valid,
	files *settings.SecretFiles,
	log zerolog.Logger,
) (*process, error) {
	p := &process{
		config:   c,
		environ:  w.Environ,
		files:    files,
		owner:    owner(),
		now:      w.Now,
		release:  w.Release,
		log:      log,
		registry: prometheus.NewRegistry(),
	}
	p.password.Store(&c.Monitoring.Password)
	if err := p.build(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *process) build(ctx context.Context) (err error) {
	if err := p.startTracing(ctx); err != nil {
		return err
	}
	failovers := &redisconn.FailoverDetector{}
	serversRedis, closeServers := p.config.Target.OpenTracked(redisconn.Servers, failovers)
	p.onClose(func() {
		if p.server == nil || p.server.Drained() {
			closeQuietly(serversRedis)
		}
	})
	generalRedis, closeGeneral := p.config.Target.OpenTracked(redisconn.General, failovers)
	p.onClose(func() { closeQuietly(generalRedis) })
	p.redis = generalRedis
	p.guard, err = redisguard.Start(ctx, generalRedis, p.log)
	if err != nil {
		return err
	}
	p.onClose(p.guard.Close)

	p.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		broker.NewCollector(generalRedis, p.config.Queues.Names()),
	)
	p.metrics = worker.NewMetrics(p.registry)
	store := record.New(generalRedis)
	definitions, err := p.open(store)
	if err != nil {
		return err
	}
	p.queues = p.config.Queues.Runnable(definitions)
	p.server, err = worker.NewServer(worker.Config{
		Redis:   serversRedis,
		General: generalRedis,
		Cut: func() {
			closeServers()
			closeGeneral()
		},
		Failovers:   failovers,
		Queues:      p.queues,
		Intervals:   config.Intervals,
		Definitions: definitions,
		Blockers:    func() []broker.Blocker { return append(p.accounts.Blockers(), p.events.blockers()...) },
		Accounts:    p.accounts.Names,
		Ring:        p.config.Ring,
		Owner:       p.owner,
		Sealed:      p.config.EncryptionRequired,
		Grace:       p.config.ShutdownGrace,
		Metrics:     p.metrics,
		Tracer:      p.tracer,
		Alert:       p.alert,
		Finished:    p.events.finished(),
		Limits:      p.accounts.Limits(),
		Log:         p.log,
		Timeout:     p.attemptTimeout(),
	})
	if err == nil {
		p.registry.MustRegister(newCollector(p), redisguard.NewClockCollector(generalRedis, p.now))
	}
	return err
}

// startTracing has spans exported, if the settings say where to.
func (p *process) startTracing(ctx context.Context) error {
	tracer, stop, err := export.Start(ctx, p.config.Tracing, p.owner, p.log)
	if err != nil {
		return err
	}
	p.tracer = tracer
	p.onClose(stop)
	return nil
}

// attemptTimeout returns how long an attempt at a vendor may take.
func (p *process) attemptTimeout() func(vendor string) time.Duration {
	timeouts := p.config.CallTimeouts()
	return func(vendor string) time.Duration {
		return timeouts[vendor] + attemptSlack
	}
}

// open opens the event pipeline and the configured accounts. It returns all task
// types; tasks of accounts that are not configured wait for another worker.
func (p *process) open(store *record.Store) ([]worker.Definition, error) {
	salt := seal.NewSalt(p.redis)
	metrics := admission.NewMetrics(p.registry)
	var err error
	p.events, err = openEvents(p.config, eventParts{
		redis:   p.redis,
		salt:    salt,
		store:   store,
		metrics: metrics,
		observe: p.metrics.ObserveCall,
		prepare: p.metrics.PrepareCalls,
		log:     p.log,
	})
	if err != nil {
		return nil, config.NewError(err)
	}
	p.onClose(p.events.close)
	p.alert = p.events.alert(alert.New(p.log, p.registry))
	p.sender, err = p.events.sender(p.alert, p.now)
	if err != nil {
		return nil, config.NewError(err)
	}

	shared := account.Shared{
		Redis:        p.redis,
		Ring:         p.config.Ring,
		Salt:         salt,
		Proxy:        p.config.Proxy,
		Observe:      p.metrics.ObserveCall,
		Operations:   p.metrics.PrepareCalls,
		Publish:      p.events.publish,
		TokenMetrics: tokens.NewMetrics(p.registry),
		OnChange:     credentialAlerts(p.alert),
		Admission: []admission.Option{
			admission.WithSalt(salt),
			admission.WithMetrics(metrics),
			admission.WithOnOutage(outageAlerts(p.alert)),
			admission.WithOnSurge(surgeAlerts(p.alert)),
		},
	}
	p.accounts, err = p.config.Accounts.Open(shared)
	if err != nil {
		return nil, config.NewError(err)
	}
	p.onClose(p.accounts.Close)
	definitions := slices.Concat(p.accounts.Definitions, []worker.Definition{deliver.Definition(p.sender)})
	if p.release != nil {
		definitions = p.release(definitions)
	}
	return definitions, nil
}

// onClose registers a function that close calls; the latest is called first.
func (p *process) onClose(f func()) {
	p.closers = append(p.closers, f)
}

func (p *process) close() {
	for _, f := range slices.Backward(p.closers) {
		f()
	}
}

// credentialAlerts turns changes of credentials into alerts.
func credentialAlerts(publish alert.Func) func(admission.Change) {
	return func(c admission.Change) {
		kind := alert.CredentialParked
		if c.Kind == admission.Resumed {
			kind = alert.CredentialResumed
		}
		publish(alert.Alert{Kind: kind, Subject: c.Profile})
	}
}

// surgeAlerts turns hours in which an account sends far more than usual into alerts.
func surgeAlerts(publish alert.Func) func(admission.SurgeChange) {
	return func(c admission.SurgeChange) {
		publish(alert.Alert{
			Kind:     alert.AccountSurge,
			Subject:  c.Account,
			DedupKey: rand.Text(), // only one process of the fleet tells it
			Data: map[string]string{
				"count": strconv.FormatInt(c.Count, 10),
				"usual": strconv.FormatInt(c.Usual, 10),
			},
		})
	}
}

// outageAlerts turns changes of accounts' circuit breakers into alerts.
func outageAlerts(publish alert.Func) func(admission.OutageChange) {
	return func(c admission.OutageChange) {
		kind := alert.AccountClosed
		if c.Open {
			kind = alert.AccountOpen
		}
		publish(alert.Alert{
			Kind:     kind,
			Subject:  c.Account,
			DedupKey: rand.Text(), // only the process that caused the change tells it
		})
	}
}
