package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/events"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/seal"
	"errand.internal/internal/tokens"
)

// eventChecks says whether events reach their receiver, as the workers have
// found it; nothing is sent.
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
	gone, state, err := d.receiver(ctx, cfg)
	switch {
	case err != nil:
		c.Seen = "not checked: Redis did not tell in time"
		c.Fix = "run the doctor again"
	case !gone.IsZero():
		c.Level = redisguard.Fail
		c.Seen = fmt.Sprintf(
			"stopped: the receiver answered 410 Gone at %s; every event since ends failed",
			gone.UTC().Format(time.RFC3339),
		)
		c.Fix = "when it takes events again: worker events resume, with the workers' settings; or set another EVENTS_URL"
	case state.CoolingFor > 0:
		c.Seen = fmt.Sprintf(
			"the receiver takes nothing (%d tries in a row); events wait, the next try is in %s",
			max(state.Refusals, 1),
			state.CoolingFor.Round(time.Second),
		)
		c.Fix = `look at the receiver; errand_vendor_requests_total{vendor="events"} counts its answers`
	case state.Proven:
		c.Level = redisguard.OK
		c.Seen = "the receiver has taken one in the last day"
	default:
		c.Level = redisguard.OK
		c.Seen = "unproven: none was sent in the last day"
	}
	return []Check{c}
}

// receiver tells since when the receiver is gone, and how it stands otherwise.
func (d *doctor) receiver(
	ctx context.Context,
	cfg events.Config,
) (gone time.Time, state tokens.State, err error) {
	salt := seal.NewSalt(d.redis)
	sink, err := events.NewReceiver(cfg, d.redis, salt)
	if err != nil {
		return gone, state, err
	}
	if gone, err = sink.Gone(ctx); err != nil {
		return gone, state, err
	}
	rest := events.NewRest(cfg, d.redis, zerolog.Nop(), tokens.WithSalt(salt))
	defer rest.Close()
	state, err = rest.State(ctx)
	return gone, state, err
}
