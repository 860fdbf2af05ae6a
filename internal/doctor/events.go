package doctor

import (
	"context"
	"fmt"
	"time"

	"errand.internal/internal/admission"

	"github.com/rs/zerolog"

	"errand.internal/internal/events"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/seal"
)

// eventChecks says whether the receiver accepts events, as the workers have found
// it. It sends nothing.
func (d *doctor) eventChecks(ctx context.Context) []Check {
	cfg := d.config.Events
	if !cfg.Configured() {
		return nil
	}
	c := Check{Level: redisguard.Warn, Name: "events"}
	if cfg.Validate() != nil {
		c.Seen = "not checked: EVENTS_URL or EVENTS_SECRET is wrong"
		c.Fix = "correct the settings above"
		return []Check{c}
	}
	if !d.redisAnswers() {
		c.Seen = "not checked: Redis does not answer"
		c.Fix = "see redis above"
		return []Check{c}
	}
	goneSince, state, err := d.receiverState(ctx, cfg)
	switch {
	case err != nil:
		c.Seen = "not checked: Redis did not answer in time"
		c.Fix = "run the doctor again"
	case !goneSince.IsZero():
		c.Level = redisguard.Fail
		c.Seen = fmt.Sprintf(
			"stopped: the receiver answered 410 Gone at %s; every event since ends failed",
			goneSince.UTC().Format(time.RFC3339),
		)
		c.Fix = "when it accepts events again: worker events resume, with the workers' settings; or set another EVENTS_URL"
	case state.CoolingFor > 0:
		c.Seen = fmt.Sprintf(
			"the receiver accepts no events (%d failed tries in a row); events wait, next try in %s",
			max(state.Refusals, 1),
			state.CoolingFor.Round(time.Second),
		)
		c.Fix = `check the receiver; errand_vendor_requests_total{vendor="events"} counts its answers`
	case state.Proven:
		c.Level = redisguard.OK
		c.Seen = "the receiver accepted an event in the last 24 hours"
	default:
		c.Level = redisguard.OK
		c.Seen = "unproven: no event was sent in the last 24 hours"
	}
	return []Check{c}
}

// receiverState returns since when the receiver is gone (zero if it is not), and
// how its latest deliveries went.
func (d *doctor) receiverState(
	ctx context.Context,
	cfg events.Config,
) (goneSince time.Time, state admission.State, err error) {
	salt := seal.NewSalt(d.redis)
	receiver, err := events.NewReceiver(cfg, d.redis, salt)
	if err != nil {
		return goneSince, state, err
	}
	if goneSince, err = receiver.Gone(ctx); err != nil {
		return goneSince, state, err
	}
	breaker := events.NewBreaker(cfg, d.redis, zerolog.Nop(), admission.WithSalt(salt))
	defer breaker.Close()
	state, err = breaker.State(ctx)
	return goneSince, state, err
}
