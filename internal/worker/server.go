package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
)

// Config is what a worker is made of. The fields of the same name are described in
// broker.Config.
type Config struct {
	Redis     redis.UniversalClient
	General   redis.UniversalClient
	Cut       func()
	Failovers *redisconn.FailoverDetector
	Queues    map[string]int
	Intervals func(queue string) (poll, delay time.Duration)
	Blockers  func() []broker.Blocker
	Accounts  func() []string
	Owner     string
	Sealed    bool
	Alert     alert.Func
	Grace     time.Duration
	Log       zerolog.Logger

	// Definitions are all the task types there are.
	Definitions []Definition
	Ring        *seal.Ring
	// Timeout bounds one attempt of a vendor's task.
	Timeout func(vendor string) time.Duration
	// ReconfirmAfter is how long after a closing was confirmed it is confirmed once
	// more, if an opening that it overtook may still take effect; 30 s if unset.
	ReconfirmAfter time.Duration
	// LookupPause is added to a call's own time before a task that may have happened is
	// looked for; 2 s if unset.
	LookupPause time.Duration
	// Finished is told of the end of each task that was enqueued with Notify, or that
	// is a dead letter no schedule makes up for, once it is written; nil for nobody.
	// What it misses, because the process ends, is in the outbox; without it dead
	// letters do not go there.
	Finished func(id string)
	// Tracer records a span of each attempt; nil for none.
	Tracer trace.Tracer
	// Limits names the rates and concurrencies that tasks may have to wait for.
	Limits  []string
	Metrics *Metrics
}

// NewServer returns a broker.Server that runs the tasks of the definitions.
func NewServer(cfg Config) (*broker.Server, error) {
	w := &worker{
		definitions:    map[string]Definition{},
		ring:           cfg.Ring,
		alert:          cfg.Alert,
		finished:       cfg.Finished,
		lookupPause:    cfg.LookupPause,
		reconfirmAfter: cfg.ReconfirmAfter,
		timeout:        cfg.Timeout,
		metrics:        cfg.Metrics,
		tracer:         cfg.Tracer,
		log:            cfg.Log,
	}
	if w.alert == nil {
		w.alert = func(alert.Alert) {}
	}
	if w.reconfirmAfter <= 0 {
		w.reconfirmAfter = 30 * time.Second
	}
	if w.lookupPause <= 0 {
		w.lookupPause = 2 * time.Second
	}
	if cfg.Timeout == nil || cfg.Metrics == nil {
		return nil, errors.New("a worker needs Timeout and Metrics")
	}
	cfg.Metrics.prepare(cfg)
	var longest time.Duration
	for _, d := range cfg.Definitions {
		if _, twice := w.definitions[d.Type]; twice {
			return nil, fmt.Errorf("task type %s is defined twice", d.Type)
		}
		w.definitions[d.Type] = d
		longest = max(longest, cfg.Timeout(d.Vendor))
	}
	return broker.NewServer(broker.Config{
		Redis:     cfg.Redis,
		General:   cfg.General,
		Cut:       cfg.Cut,
		Failovers: cfg.Failovers,
		Queues:    cfg.Queues,
		Intervals: cfg.Intervals,
		Blockers:  cfg.Blockers,
		Accounts:  cfg.Accounts,
		Owner:     cfg.Owner,
		Sealed:    cfg.Sealed,
		Hold:      2*longest + claimSlack, // a lookup, and then the call
		Handle:    w.handle,
		Alert:     w.alert,
		Grace:     cfg.Grace,
		Log:       cfg.Log,
	})
}
