package app

import (
	"context"
	"errors"
	"time"

	"errand.internal/internal/admission"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/events"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
)

// eventPipeline publishes events and delivers them. Without EVENTS_URL it is empty
// and does nothing.
type eventPipeline struct {
	config   events.Config
	receiver *events.Receiver
	breaker  *admission.Breaker // of the receiver
	alerts   *events.AlertPublisher
	outbox   *events.Outbox
	proxy    *clients.Proxy
	observe  func(clients.Observation)
	prepare  func(vendor string, operations ...string)
	// publish enqueues the delivery of an event; nil without a receiver.
	publish events.Publish
}

// eventParts are the parts of the process that the pipeline uses.
type eventParts struct {
	redis   redis.UniversalClient
	salt    *seal.Salt
	store   *record.Store
	metrics *admission.Metrics
	observe func(clients.Observation)
	prepare func(vendor string, operations ...string)
	log     zerolog.Logger
}

func openEvents(c *config.Valid, parts eventParts) (*eventPipeline, error) {
	if !c.Events.Configured() {
		return &eventPipeline{}, nil
	}
	receiver, err := events.NewReceiver(c.Events, parts.redis, parts.salt)
	if err != nil {
		return nil, err
	}
	publish := deliver.Publisher(broker.NewProducer(parts.redis, parts.store, c.Ring))
	return &eventPipeline{
		config:   c.Events,
		receiver: receiver,
		breaker: events.NewBreaker(
			c.Events,
			parts.redis,
			parts.log,
			admission.WithSalt(parts.salt),
			admission.WithMetrics(parts.metrics),
		),
		alerts:  events.NewAlertPublisher(parts.redis, publish, parts.log),
		outbox:  events.NewOutbox(parts.store, config.QueueNames(), publish, parts.log),
		proxy:   c.Proxy,
		observe: parts.observe,
		prepare: parts.prepare,
		publish: publish,
	}, nil
}

// alert returns a Func that calls next and turns the alert into an event.
func (p *eventPipeline) alert(next alert.Func) alert.Func {
	if p.alerts == nil {
		return next
	}
	return func(a alert.Alert) {
		next(a)
		p.alerts.Publish(a)
	}
}

// sender returns the sender of events, which signs them with the time of now; nil without a
// receiver.
func (p *eventPipeline) sender(publish alert.Func, now func() time.Time) (*events.Sender, error) {
	if p.receiver == nil {
		return nil, nil
	}
	timeouts := p.config.Timeouts()
	p.prepare(events.Vendor, events.Operations...)
	caller := clients.NewCaller(events.Vendor, timeouts, p.proxy.Transport(timeouts), p.observe)
	return events.NewSender(p.config, p.receiver, p.breaker, caller, publish, now)
}

// blockers lists what deliveries may be parked for.
func (p *eventPipeline) blockers() []broker.Blocker {
	if p.breaker == nil {
		return nil
	}
	return []broker.Blocker{{
		Name: events.BreakerName,
		Usable: func(ctx context.Context) bool {
			s, err := p.breaker.State(ctx)
			return err == nil && s.CoolingFor == 0
		},
	}}
}

// finished returns what the server calls for each task that has ended; nil without
// a receiver.
func (p *eventPipeline) finished() func(id string) {
	if p.outbox == nil {
		return nil
	}
	return p.outbox.Wake
}

// start starts publishing. stop publishes what is left and returns.
func (p *eventPipeline) start(credentials []account.Credential) (stop func()) {
	if p.alerts == nil {
		return func() {}
	}
	for _, c := range credentials {
		p.alerts.Watch(events.WatchedCredential{
			Name: c.Name,
			Works: func(ctx context.Context) (bool, error) {
				s, err := c.State(ctx)
				return err == nil && s.CoolingFor <= 0 && (s.TokenFor > 0 || s.Proven), err
			},
		})
	}
	p.alerts.Start()
	p.outbox.Start()
	return func() {
		p.outbox.Close()
		p.alerts.Close()
	}
}

// close stops the background work of the pipeline.
func (p *eventPipeline) close() {
	if p.breaker != nil {
		p.breaker.Close()
	}
}

// ResumeEvents resumes the delivery of events to a receiver that has answered 410
// Gone. environ must be the workers' own, because another EVENTS_URL is another
// receiver. The text says what was done; a *config.Error names wrong settings.
func ResumeEvents(ctx context.Context, environ map[string]string) (string, error) {
	redisconn.LogTo(zerolog.Nop())
	c, err := config.Read(environ)
	if c.Target == nil || c.Events.Validate() != nil {
		return "", config.NewError(err) // names all faults; others alone do not matter here
	}
	if !c.Events.Configured() {
		return "", config.NewError(errors.New("EVENTS_URL: is not set"))
	}
	rdb := c.Target.Open(redisconn.General)
	defer closeQuietly(rdb)
	receiver, err := events.NewReceiver(c.Events, rdb, seal.NewSalt(rdb))
	if err != nil {
		return "", config.NewError(err)
	}
	since, err := receiver.Gone(ctx)
	if err != nil {
		return "", err
	}
	resumed, err := receiver.Resume(ctx)
	switch {
	case err != nil:
		return "", err
	case !resumed:
		return "nothing to resume: events are being sent to this EVENTS_URL", nil
	}
	return "events are sent again; they were stopped at " + since.UTC().Format(time.RFC3339), nil
}
