package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/announce"
	"errand.internal/internal/events"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
	"errand.internal/internal/tokens"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// outlet is all that sends events. Without EVENTS_URL it has no parts and does
// nothing.
type outlet struct {
	config   events.Config
	sink     *events.Sink
	rest     *events.Rest
	bulletin *events.Bulletin
	notices  *events.Notices
	changes  *events.Detector
}

func openOutlet(
	p *plan,
	rdb redis.UniversalClient,
	salt *seal.Salt,
	store *ledger.Store,
	figures *tokens.Metrics,
	log zerolog.Logger,
) (*outlet, error) {
	if !p.Events.Configured() {
		return &outlet{}, nil
	}
	sink, err := events.NewSink(p.Events, rdb, salt)
	if err != nil {
		return nil, err
	}
	publish := tasks.Publisher(queue.NewProducer(rdb, store, p.ring))
	return &outlet{
		config: p.Events,
		sink:   sink,
		rest: events.NewRest(
			p.Events,
			rdb,
			log,
			tokens.WithSalt(salt),
			tokens.WithMetrics(figures),
		),
		bulletin: events.NewBulletin(rdb, publish, log),
		notices:  events.NewNotices(store, knownQueues, publish, log),
		changes:  events.NewDetector(rdb, salt, publish),
	}, nil
}

// announce has announcements become events, too.
func (o *outlet) announce(also announce.Func) announce.Func {
	if o.bulletin == nil {
		return also
	}
	return func(a announce.Announcement) {
		also(a)
		o.bulletin.Announce(a)
	}
}

// serve gives the handlers what they need.
func (o *outlet) serve(
	v *tasks.Vendors,
	observe func(clients.Observation),
	tell announce.Func,
) error {
	if o.sink == nil {
		return nil
	}
	sender, err := events.NewSender(
		o.config,
		o.sink,
		o.rest,
		clients.NewCaller(events.Vendor, o.config.Timeouts(), nil, observe),
		tell,
	)
	if err != nil {
		return err
	}
	v.Events, v.Changes = sender, o.changes
	return nil
}

// parkable is what events are parked for.
func (o *outlet) parkable() []queue.Credential {
	if o.rest == nil {
		return nil
	}
	return []queue.Credential{
		{Name: events.RestProfile, Usable: func(ctx context.Context) bool {
			state, err := o.rest.State(ctx)
			return err == nil && state.CoolingFor == 0
		}},
	}
}

// close ends what the outlet does in the background.
func (o *outlet) close() {
	if o.rest != nil {
		o.rest.Close()
	}
}

// finished is queue.Config's.
func (o *outlet) finished() func(id string) {
	if o.notices == nil {
		return nil
	}
	return o.notices.Finished
}

// start begins to publish; stop publishes what is left.
func (o *outlet) start(credentials []vendors.Credential) (stop func()) {
	if o.bulletin == nil {
		return func() {}
	}
	for _, c := range credentials {
		o.bulletin.Watch(
			events.Credential{
				Name: c.Name,
				Works: func(ctx context.Context) (bool, error) {
					s, err := c.State(ctx)
					return err == nil && s.CoolingFor <= 0 &&
						(s.TokenFor > 0 || s.Proven), err
				},
			},
		)
	}
	o.bulletin.Start()
	o.notices.Start()
	return func() {
		o.notices.Close()
		o.bulletin.Close()
	}
}

// ResumeEvents has events sent again to a receiver that had said that it was
// gone (410). environ must be the workers' own: another EVENTS_URL is another
// receiver. The text says what was done; a *ConfigError names settings that are
// wrong.
func ResumeEvents(ctx context.Context, environ map[string]string) (string, error) {
	redisconn.LogTo(zerolog.Nop())
	p, err := read(environ)
	if fault := p.Events.Validate(); p.target == nil || fault != nil {
		return "", &ConfigError{
			err,
		} // other settings at fault are no hindrance, but worth saying then
	}
	if !p.Events.Configured() {
		return "", &ConfigError{errors.New("EVENTS_URL: is not set")}
	}
	rdb := p.target.Open(redisconn.General)
	defer closeQuietly(rdb)
	sink, err := events.NewSink(p.Events, rdb, seal.NewSalt(rdb))
	if err != nil {
		return "", &ConfigError{err}
	}
	since, err := sink.Gone(ctx)
	if err != nil {
		return "", err
	}
	was, err := sink.Resume(ctx)
	switch {
	case err != nil:
		return "", err
	case !was:
		return "nothing to resume: events are being sent to this EVENTS_URL", nil
	}
	return fmt.Sprintf(
		"events are sent again; they were not since %s",
		since.UTC().Format(time.RFC3339),
	), nil
}
